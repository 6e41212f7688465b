# SPDX-License-Identifier: Apache-2.0
"""Nobody waits for VMs that do not answer, or take their time."""

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvmexporter.addressing import Addressing
from kvmexporter.sources.qemu import QemuFacts, Visitor
from kvmexporter.sources.qmp import Door
from kvmexporter.visits import Pace
from tests.unit.addressed import DEADLINE_SECONDS, Held, Visits, Vms, fast, identity
from tests.unit.procfs_tree import ProcfsTree
from tests.unit.sources.qmp_hostility import silent
from tests.waiting import eventually


@pytest.fixture
def vms(tree: ProcfsTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vms]:
    """No VM yet; it is looked for new ones often."""
    monkeypatch.setattr("kvmexporter.rounds.TICK_SECONDS", 0.01)
    with Vms(tree, tmp_path) as made:
        yield made


def test_many_silent_vms(vms: Vms) -> None:
    """They queue up behind one another, and not before one that answers."""
    for pid in range(20, 50):
        vms.add(pid, silent("greeting"))
    addressing = vms.start(Visits(), fast)
    eventually(
        lambda: sum(bool(one.trouble) for one in addressing.known().values()) == 30, seconds=40
    )
    server = vms.add(10)
    start = time.monotonic()
    eventually(lambda: server.connections)
    assert time.monotonic() - start < 3 * DEADLINE_SECONDS + 1
    eventually(lambda: addressing.known()[identity(10)].facts)


def test_many_slow_vms(vms: Vms) -> None:
    """Those that take their time take it from one another, and not from one that does not."""
    pids = range(20, 50)
    for pid in pids:
        vms.process(pid, "-qmp", "unix:/qmp.sock")
    let_go, slow_seconds = asyncio.Event(), 0.1  # half a minute on this clock

    async def slowly(socket: Door, _deadline_seconds: float, _known: QemuFacts | None) -> QemuFacts:
        assert isinstance(socket, Path)
        pid = socket.parts[-3]
        if pid == "10":
            return await visitor.visit(socket, 20.0)
        if visits.begun[pid] > 1:
            await let_go.wait()
        await asyncio.sleep(slow_seconds)
        return QemuFacts("10.0.0", (), ())

    visitor, visits = Visitor(), Visits(slowly)
    vms.start(visits, fast)
    eventually(lambda: sum(count > 1 for count in visits.begun.values()) == 8)
    vms.add(10)
    eventually(lambda: vms.known(10).facts)
    assert sum(count > 1 for count in visits.begun.values()) == 8, "the slow ones still are"


def test_what_is_known_is_told_at_once(vms: Vms) -> None:
    """However long a visit takes."""
    vms.add(10, silent("greeting"))
    visits = Visits()
    addressing = vms.start(visits)
    eventually(lambda: visits.begun)
    start = time.monotonic()
    for _ in range(100):
        assert addressing.known()[identity(10)].facts is None
    assert time.monotonic() - start < DEADLINE_SECONDS


def test_asking_has_its_share_of_a_processor(vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it would take more, each VM is asked less often, and that is told."""
    monkeypatch.setattr("kvmexporter.visits._MAX_SHARE", 1e-7)
    vms.add(10)
    addressing = vms.start(Visits())
    assert (addressing.interval_seconds, addressing.stale_seconds) == (60.0, 300.0)
    eventually(lambda: addressing.interval_seconds > 6000.0)
    eventually(lambda: addressing.stale_seconds > 3000.0)
    eventually(lambda: addressing.known()[identity(10)].facts)  # when it came, all the same


def test_closing_does_not_wait_for_visits(vms: Vms) -> None:
    """A visit under way is given up, and leaves the socket."""
    server = vms.add(10, silent("greeting"))
    addressing = Addressing(vms.inventory, vms.maps.tables, vms.tree.root)
    addressing.start()
    eventually(lambda: server.connections)
    start = time.monotonic()
    addressing.close()
    assert time.monotonic() - start < 3
    eventually(lambda: server.now_connected == 0)


def test_a_visit_counts_when_it_is_over(vms: Vms, monkeypatch: pytest.MonkeyPatch) -> None:
    """With what it cost: many VMs that appear at once would seem to be cheap, then dear."""
    counted: list[bool] = []
    monkeypatch.setattr(Pace, "visits", lambda _, *, first=False: counted.append(first))
    vms.process(10, "-qmp", "unix:/qmp.sock")
    held = Held()
    vms.start(held, fast)
    assert held.begun.wait(10)
    time.sleep(0.1)
    assert counted == []
    held.let_go.set()
    eventually(lambda: len(counted) >= 3)
    assert counted[:3] == [True, False, False]
