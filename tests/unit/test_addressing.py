# SPDX-License-Identifier: Apache-2.0
"""What is known of several VMs, of which some are hostile, slow or gone."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kvmexporter.addressing import Addressing
from kvmexporter.bpf.request import IO_SLOTS, KICK_SLOTS
from kvmexporter.inventory import Inventory
from kvmexporter.model.legacy import legacy_windows
from kvmexporter.model.regiontable import PORT, Key, Slots, entries
from kvmexporter.sources.qemu import QemuFacts, Visitor
from kvmexporter.sources.qemu_devices import Unsettled
from kvmexporter.sources.qmp import Door, QmpError
from tests.unit.addressed import PC, Held, Visits, Vms, fast, identity
from tests.unit.host import Clock
from tests.unit.procfs_tree import ProcfsTree
from tests.unit.sources.qmp_hostility import HOSTILE, LARGE, silent
from tests.unit.sources.qmp_server import Answer
from tests.waiting import eventually

SERIAL = Key(PORT, 0x3F8)


@pytest.fixture
def vms(tree: ProcfsTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vms]:
    """No VM yet; it is looked for new ones often."""
    monkeypatch.setattr("kvmexporter.rounds.TICK_SECONDS", 0.01)
    with Vms(tree, tmp_path) as made:
        yield made


def test_everything_that_is_known_of_a_vm(vms: Vms) -> None:
    """Facts, targets and doorbells; its table is written and confirmed."""
    server = vms.add(10)
    addressing = vms.start()
    addressing.settle(20)
    known = addressing.known()[identity(10)]
    assert known.facts
    assert known.facts.windows == PC.windows()
    assert known.trouble == ""
    assert known.visited is not None
    assert {window.target for window in PC.windows() if window.moves} <= set(known.targets)
    assert ("disk0", "1") in known.kick_labels
    expected = entries(PC.windows(), Slots(IO_SLOTS, KICK_SLOTS))
    assert vms.written(10) == expected
    assert addressing.region_entries() == len(expected)
    assert vms.maps.tables.is_confirmed(10)
    assert server.most_at_once == server.connections == 1


def test_without_bpf(vms: Vms) -> None:
    """The facts are known all the same."""
    vms.add(10)
    vms.addressing = Addressing(vms.inventory, None, vms.tree.root)
    vms.addressing.start()
    vms.addressing.settle(20)
    assert vms.addressing.known()[identity(10)].facts
    assert vms.addressing.region_entries() == 0
    assert vms.addressing.unknown_addresses() == {}


def test_a_vm_without_a_monitor(vms: Vms) -> None:
    """It has what PCs have had for decades, and no trouble."""
    vms.process(10)
    addressing = vms.start()
    addressing.settle(20)
    known = addressing.known()[identity(10)]
    assert (known.facts, known.visited, known.trouble) == (None, None, "")
    assert known.targets[vms.written(10)[SERIAL].slot].device == "serial0"
    assert vms.written(10) == entries(legacy_windows(), Slots(IO_SLOTS, KICK_SLOTS))
    assert vms.maps.tables.is_confirmed(10)


def test_a_relative_socket(vms: Vms) -> None:
    """It is where the VMM was started."""
    vms.add(10)
    vms.process(10, "-qmp", "unix:qmp.sock,server=on", start_ticks=2000)
    addressing = vms.start()
    addressing.settle(20)
    assert addressing.known()[identity(10, 2000)].facts


_WAYS = {**HOSTILE, **{name: LARGE[name] for name in ("100 MiB of JSON", "100,000 events")}}
del _WAYS["everything twice"]  # is only odd


@pytest.mark.parametrize("answer", _WAYS.values(), ids=_WAYS)
def test_a_hostile_vm_among_others(vms: Vms, answer: Answer) -> None:
    """The others stay fresh, nobody waits, and it is told what was wrong with it."""
    servers = {pid: vms.add(pid) for pid in (10, 11, 12)}
    hostile = vms.add(13, answer)
    visits = Visits()
    addressing = vms.start(visits, fast)
    eventually(lambda: len(addressing.known()) == 4)
    slowest = 0.0

    def each_has_been_visited(times: int) -> bool:
        nonlocal slowest
        start = time.monotonic()
        known = addressing.known()
        slowest = max(slowest, time.monotonic() - start)
        return (
            all(server.connections >= times for server in servers.values())
            and hostile.connections >= 1
            and bool(known[identity(13)].trouble)
        )

    eventually(lambda: each_has_been_visited(3))
    known = addressing.known()
    now = fast()
    for pid in servers:
        state = known[identity(pid)]
        assert state.facts
        assert state.trouble == ""
        # A refresh is due every minute; on this clock a second takes five minutes.
        assert state.visited is not None
        assert now - state.visited < 60 + 300 * 3
        assert servers[pid].most_at_once == 1
    assert known[identity(13)].facts is None
    assert known[identity(13)].trouble.isprintable()
    assert hostile.most_at_once == 1
    assert visits.begun["13"] < 60
    assert slowest < 1.0


async def _fail(_socket: Door, _deadline_seconds: float, _known: QemuFacts | None) -> QemuFacts:
    raise QmpError("it says nothing")


def test_back_off_grows(vms: Vms) -> None:
    """It doubles with every failure, up to five minutes."""
    vms.process(10, "-qmp", "unix:/qmp.sock")
    clock = Clock()
    visits = Visits(_fail)
    vms.start(visits, clock)
    eventually(lambda: visits.begun.get("10") == 1)
    for failures, expected in enumerate([2, 4, 8, 16, 32, 64, 128, 256, 300, 300], start=1):
        time.sleep(0.05)
        clock.now += expected - 0.5
        time.sleep(0.05)
        assert visits.begun["10"] == failures
        clock.now += 0.6
        eventually(lambda done=failures: visits.begun["10"] == done + 1)  # type: ignore[misc]


def test_a_vm_that_never_answers_is_never_too_much(
    vms: Vms, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """After thousands of failures it is tried as after ten; it is said once why."""
    monkeypatch.setattr("kvmexporter.rounds.TICK_SECONDS", 0)
    vms.process(10, "-qmp", "unix:/qmp.sock")
    visits = Visits(_fail)
    addressing = vms.start(visits, Clock(step=400.0))
    eventually(lambda: visits.begun.get("10", 0) > 1500, seconds=60)
    assert addressing.known()[identity(10)].trouble == "it says nothing"
    ours = [one for one in caplog.records if one.name.startswith("kvmexporter")]
    assert [one.getMessage() for one in ours] == ["VM not visited"]


def test_a_bug_of_ours_costs_one_vm(vms: Vms, caplog: pytest.LogCaptureFixture) -> None:
    """It is logged, told of, and not tried again and again."""
    visitor = Visitor()

    async def odd(socket: Door, deadline_seconds: float, known: QemuFacts | None) -> QemuFacts:
        assert isinstance(socket, Path)
        if socket.parts[-3] == "10":
            raise RuntimeError("a bug")
        return await visitor.visit(socket, deadline_seconds, known)

    vms.add(10)
    vms.add(11)
    visits = Visits(odd)
    addressing = vms.start(visits)
    addressing.settle(20)
    time.sleep(0.2)
    known = addressing.known()
    assert known[identity(11)].facts
    assert known[identity(10)].trouble == "visiting it failed: RuntimeError"
    assert visits.begun["10"] == 1
    assert "visiting a VM failed" in caplog.text


def test_a_vm_that_answers_at_last(vms: Vms) -> None:
    """It has spent no slot on what it does not have, and the trouble is over."""
    vms.process(10, "-qmp", "unix:/qmp.sock")
    answers = threading.Event()

    async def at_last(
        _socket: Door, _deadline_seconds: float, _known: QemuFacts | None
    ) -> QemuFacts:
        if not answers.is_set():
            raise QmpError("it is busy")
        return QemuFacts("10.0.0", PC.windows(), ())

    clock = Clock()
    visits = Visits(at_last)
    addressing = vms.start(visits, clock)
    for failures in (1, 2):
        eventually(lambda done=failures: visits.begun.get("10", 0) == done)  # type: ignore[misc]
        time.sleep(0.05)
        assert addressing.known()[identity(10)].trouble == "it is busy"
        assert vms.written(10) == {}
        if failures == 2:
            answers.set()
        clock.now += 2**failures + 1
    eventually(lambda: addressing.known()[identity(10)].facts)
    assert addressing.known()[identity(10)].trouble == ""
    assert vms.written(10) == entries(PC.windows(), Slots(IO_SLOTS, KICK_SLOTS))


def test_a_vm_that_does_not_answer_for_long(vms: Vms) -> None:
    """It has the legacy addresses then."""
    vms.process(10, "-qmp", "unix:/qmp.sock")
    addressing = vms.start(Visits(_fail), fast)
    eventually(lambda: vms.written(10))
    known = addressing.known()[identity(10)]
    assert known.trouble == "it says nothing"
    assert known.targets[vms.written(10)[SERIAL].slot].device == "serial0"


def test_a_guest_that_boots(vms: Vms) -> None:
    """One that moves its devices during a visit is no trouble; it is visited again in a second."""
    vms.process(10, "-qmp", "unix:/qmp.sock")
    boots = threading.Event()
    boots.set()

    async def unsettled(
        _socket: Door, _deadline_seconds: float, _known: QemuFacts | None
    ) -> QemuFacts:
        if boots.is_set():
            raise Unsettled("it moves")
        return QemuFacts("10.0.0", PC.windows(), ())

    clock = Clock()
    visits = Visits(unsettled)
    addressing = vms.start(visits, clock)
    for visit in range(1, 6):
        eventually(lambda done=visit: visits.begun.get("10", 0) == done)  # type: ignore[misc]
        time.sleep(0.05)
        assert visits.begun["10"] == visit
        clock.now += 1.1
    assert addressing.known()[identity(10)].trouble == ""
    assert vms.written(10) == {}
    boots.clear()
    clock.now += 1.1
    eventually(lambda: vms.written(10))


def test_a_vm_that_answers_no_more(vms: Vms) -> None:
    """What it said last stays; what its guest moves meanwhile is not confirmed."""
    server = vms.add(10)
    addressing = vms.start(Visits(), fast)
    eventually(lambda: addressing.known().get(identity(10)) and vms.written(10))
    before = vms.written(10)
    server.answer = silent("greeting")
    eventually(lambda: addressing.known()[identity(10)].trouble)
    vms.maps.guest_moves(vms.maps.indexes()[10], pci=1)
    time.sleep(0.2)
    known = addressing.known()[identity(10)]
    assert known.facts
    assert vms.written(10) == before
    assert not vms.maps.tables.is_confirmed(10)


def test_a_guest_that_moves_its_devices(vms: Vms) -> None:
    """It is visited soon, one visit at a time, at most once a second."""
    server = vms.add(10)
    addressing = vms.start()
    addressing.settle(20)
    assert vms.maps.tables.is_confirmed(10)
    start = time.monotonic()
    while time.monotonic() - start < 2.5:
        vms.maps.guest_moves(vms.maps.indexes()[10], pci=1)
        time.sleep(0.02)
    assert 2 <= server.connections <= 4
    assert server.most_at_once == 1
    eventually(lambda: vms.maps.tables.is_confirmed(10))


def test_all_have_their_turn_to_be_looked_at(vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are more than are looked at in a round; those that come later, too."""
    monkeypatch.setattr("kvmexporter.addressing._LOOKS_AT_ONCE", 2)
    pids = range(10, 15)
    for pid in pids[:-1]:
        vms.add(pid)
    addressing = vms.start()
    addressing.settle(20)
    vms.add(pids[-1])
    vms.inventory.refresh()
    eventually(lambda: len(vms.maps.indexes()) == len(pids))
    addressing.settle(20)
    for pid in pids:
        vms.maps.guest_moves(vms.maps.indexes()[pid], pci=1)
    assert not any(vms.maps.tables.is_confirmed(pid) for pid in pids)
    eventually(lambda: all(vms.maps.tables.is_confirmed(pid) for pid in pids))


def test_a_guest_that_touches_what_nobody_knows(vms: Vms) -> None:
    """It is visited before its time."""
    vms.add(10)
    clock = Clock()
    visits = Visits(Visitor().visit)
    addressing = vms.start(visits, clock)
    eventually(lambda: addressing.known().get(identity(10)) and vms.written(10))
    clock.now += 6
    time.sleep(0.1)
    assert visits.begun["10"] == 1
    vms.maps.touches_unknown(10, 0xD0000000, 101)
    clock.now += 6
    eventually(lambda: visits.begun["10"] == 2)
    assert addressing.unknown_addresses() == {10: {("memory", 0xD0000000): 101}}
    clock.now += 6
    time.sleep(0.1)
    assert visits.begun["10"] == 2


def test_a_vm_that_goes_away_in_the_middle_of_a_visit(vms: Vms) -> None:
    """Nothing of it is left, and nothing comes after."""
    vms.process(10, "-qmp", "unix:/qmp.sock")
    held = Held()
    addressing = vms.start(held)
    assert held.begun.wait(10)
    vms.tree.end(10)
    eventually(lambda: not addressing.known())
    held.let_go.set()
    assert held.ended.wait(10)
    time.sleep(0.1)
    assert addressing.known() == {}
    assert vms.maps.regions() == {}
    assert vms.maps.indexes() == {}
    assert addressing.region_entries() == 0


def test_a_pid_that_comes_again_in_the_middle_of_a_visit(vms: Vms) -> None:
    """The old VM's facts are not the new one's."""
    vms.process(10, "-qmp", "unix:/qmp.sock")
    held = Held()
    addressing = vms.start(held)
    assert held.begun.wait(10)
    vms.process(10, start_ticks=2000)
    eventually(lambda: list(addressing.known()) == [identity(10, 2000)])
    held.let_go.set()
    assert held.ended.wait(10)
    eventually(lambda: vms.written(10))
    time.sleep(0.1)
    assert addressing.known()[identity(10, 2000)].facts is None
    assert vms.written(10) == entries(legacy_windows(), Slots(IO_SLOTS, KICK_SLOTS))


def test_vms_come_and_go(vms: Vms) -> None:
    """Each leaves nothing behind."""
    addressing = vms.start()
    for pid in range(10, 20):
        vms.process(pid)
        eventually(lambda one=pid: vms.written(one))  # type: ignore[misc]
    for pid in range(10, 20):
        vms.tree.end(pid)
    eventually(lambda: not addressing.known())
    assert vms.maps.regions() == {}
    assert vms.maps.indexes() == {}


def test_a_vm_that_bpf_has_met_first(vms: Vms) -> None:
    """It need not be found in a scan."""
    addressing = vms.start()
    vms.add(10)
    vms.inventory = Inventory(vms.tree.procfs)
    addressing.close()
    addressing = vms.start()
    assert addressing.known() == {}
    vms.maps.queue.values.append((10).to_bytes(4, "little"))
    eventually(lambda: addressing.known().get(identity(10)))


def test_a_vcpu_that_bpf_has_met(vms: Vms) -> None:
    """One that was plugged in is told of before the next scan."""
    vms.add(10)
    vms.start()
    (vms.tree.root / "10" / "fd" / "99").symlink_to("anon_inode:kvm-vcpu:1")
    (before,) = vms.inventory.vms()
    vms.maps.queue.values.append((10).to_bytes(4, "little"))
    eventually(lambda: vms.inventory.vms() == (replace(before, vcpus=2),))
