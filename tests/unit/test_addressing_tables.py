# SPDX-License-Identifier: Apache-2.0
"""What visits write to BPF's tables: who reads them meanwhile, and who has no room in them."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kvmexporter.bpf.request import IO_SLOTS, KICK_SLOTS
from kvmexporter.errors import KvmExporterError
from kvmexporter.model.devices import Window
from kvmexporter.model.regiontable import Entry, Key, Slots, entries
from tests.unit.addressed import PC, Visits, Vms, identity
from tests.unit.host import Clock
from tests.unit.procfs_tree import ProcfsTree
from tests.waiting import eventually


@pytest.fixture
def vms(tree: ProcfsTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vms]:
    """No VM yet; it is looked for new ones often."""
    monkeypatch.setattr("kvmexporter.rounds.TICK_SECONDS", 0.01)
    with Vms(tree, tmp_path) as made:
        yield made


def test_a_busy_vm_that_nobody_can_ask(vms: Vms) -> None:
    """Whatever its guest touches, it is not visited for it: nothing more would be known."""
    vms.process(10)
    clock = Clock(step=0.5)
    addressing = vms.start(monotonic=clock)
    addressing.settle(20)
    assert vms.written(10)
    told = vms.maps.generation(vms.maps.indexes()[10])
    until = clock.now + 300
    touched = 0
    while clock.now < until:
        touched += 1000
        vms.maps.touches_unknown(10, 0xFEED0000, touched)
        time.sleep(0.005)
    assert addressing.interval_seconds == 60.0
    assert vms.maps.generation(vms.maps.indexes()[10]) == told, "written again"


def test_devices_that_do_not_fit(
    vms: Vms, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With the map full, what the VMM said is known all the same, and asked again as ever."""
    vms.add(10)
    full = KvmExporterError("BPF map regions: Argument list too long")

    def refuse(*_: bytes) -> None:
        raise full

    monkeypatch.setattr(vms.maps.maps["regions"], "set", refuse)
    visits = Visits()
    addressing = vms.start(visits, Clock(step=5.0))
    eventually(lambda: visits.begun.get("10", 0) >= 4)
    known = addressing.known()[identity(10)]
    assert known.facts
    assert known.trouble == str(full)
    ours = [one for one in caplog.records if one.name.startswith("kvmexporter")]
    assert [one.getMessage() for one in ours] == ["devices of a VM not told to BPF"]


def test_a_vm_whose_devices_do_not_fit_is_not_hurried(
    vms: Vms, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is visited when its turn comes: BPF's table would not hold more a second later."""
    vms.add(10)

    def refuse(*_: bytes) -> None:
        raise KvmExporterError("BPF map regions: Argument list too long")

    monkeypatch.setattr(vms.maps.maps["regions"], "set", refuse)
    visits, clock = Visits(), Clock(step=0.5)
    vms.start(visits, clock).settle(60)
    until = clock.now + 300
    while clock.now < until:
        time.sleep(0.005)
    assert 1 < visits.begun["10"] <= 8
    vms.maps.guest_moves(vms.maps.indexes()[10], pci=17)
    before = visits.begun["10"]
    eventually(lambda: visits.begun["10"] > before)
    now, after = clock.now, visits.begun["10"]
    vms.maps.guest_moves(vms.maps.indexes()[10], pci=17)
    eventually(lambda: visits.begun["10"] > after)
    assert clock.now - now < 45, "but for a guest that moves them"


def test_a_table_that_holds_is_not_made_again(vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as the devices and their addresses are what they were, and the guest moved none."""
    vms.add(10)
    made: list[object] = []

    def counted(windows: tuple[Window, ...], slots: Slots) -> dict[Key, Entry]:
        made.append(windows)
        return entries(windows, slots)

    monkeypatch.setattr("kvmexporter.addressing.entries", counted)
    visits = Visits()
    vms.start(visits, Clock(step=5.0))
    eventually(lambda: visits.begun.get("10", 0) >= 5)
    assert len(made) == 1
    assert vms.written(10) == entries(PC.windows(), Slots(IO_SLOTS, KICK_SLOTS))
    vms.maps.guest_moves(vms.maps.indexes()[10], pci=1)
    eventually(lambda: len(made) > 1 and vms.maps.tables.is_confirmed(10))
    # A visit that began before the guest moved them may have come first.
    visited, tables = visits.begun["10"], len(made)
    eventually(lambda: visits.begun["10"] >= visited + 3)
    assert len(made) == tables


def test_one_thread_at_a_time_is_in_the_tables(vms: Vms) -> None:
    """What a scrape reads of them, it does not read while a visit writes."""
    inside: set[int] = set()
    overlaps: list[str] = []
    regions = vms.maps.maps["regions"]

    def alone(of: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*arguments: bytes) -> object:
            me = threading.get_ident()
            if inside - {me}:
                overlaps.append(name)
            inside.add(me)
            time.sleep(0)
            try:
                return of(*arguments)
            finally:
                inside.discard(me)

        return call

    for name in ("get", "set", "delete"):
        setattr(regions, name, alone(getattr(regions, name), name))
    for pid in range(10, 16):
        vms.add(pid)
        vms.maps.touches_unknown(pid, 0xFEED0000, 7)
    addressing = vms.start()
    for _ in range(2000):
        assert addressing.region_entries() >= 0
        addressing.unknown_addresses()
    eventually(lambda: all(vms.written(pid) for pid in range(10, 16)))
    assert overlaps == []
