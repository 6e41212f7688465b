# SPDX-License-Identifier: Apache-2.0
"""How fresh balloons are kept, and at what price to those who are asked."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kvmexporter.sources.qemu import QemuFacts
from kvmexporter.sources.qmp import Door, QmpError
from tests.unit.addressed import PC, Vms, identity
from tests.unit.balloons import MIB, balloon
from tests.unit.host import Clock
from tests.unit.procfs_tree import ProcfsTree
from tests.waiting import eventually


class Guest:
    """A VM that answers with what a test says; a clock that the test moves.

    Attributes:
        actual: of its balloon, MiB; None: it has none.
        target: as well.
        visits: how often it was asked for everything.
        glances: how often for its balloon alone.
        known: what the last visit was given.
        refuses: whether it does not answer.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.actual: int | None = 256
        self.target = 256
        self.visits = 0
        self.glances = 0
        self.known: QemuFacts | None = None
        self.refuses = False
        self._talking = 0

    def _facts(self) -> QemuFacts:
        facts = QemuFacts("10.0.0", PC.windows(), ())
        if self.actual is None:
            return facts
        return replace(facts, balloon=balloon(self.actual, self.target))

    async def _answer(self) -> QemuFacts:
        assert self._talking == 0, "two conversations at once"
        self._talking += 1
        await asyncio.sleep(0.01)
        self._talking -= 1
        if self.refuses:
            raise QmpError("no answer")
        return self._facts()

    async def visit(
        self, _socket: Door, _deadline_seconds: float, known: QemuFacts | None
    ) -> QemuFacts:
        """As `Visitor.visit`."""
        self.visits += 1
        self.known = known
        return await self._answer()

    async def glance(self, _socket: Door, _deadline_seconds: float, known: QemuFacts) -> QemuFacts:
        """As `Visitor.glance`."""
        assert known.balloon
        self.glances += 1
        return replace(known, balloon=(await self._answer()).balloon)


@pytest.fixture
def guest() -> Guest:
    return Guest()


@pytest.fixture
def vms(
    tree: ProcfsTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guest: Guest
) -> Iterator[Vms]:
    """One VM that has been visited, at 1000 seconds."""
    monkeypatch.setattr("kvmexporter.rounds.TICK_SECONDS", 0.005)
    with Vms(tree, tmp_path) as made:
        made.process(10, "-qmp", "unix:/qmp.sock,server=on,wait=off")
        made.start(guest.visit, guest.clock, guest.glance)
        eventually(lambda: made.known(10).visited)
        yield made


def ticks() -> None:
    """Let it look around a few times."""
    done = asyncio.run(asyncio.sleep(0.1, result=True))
    assert done


def test_what_a_visit_is_given(vms: Vms, guest: Guest) -> None:
    """What was heard last, at a visit or since."""
    assert (guest.visits, guest.known) == (1, None)
    guest.actual = 192
    guest.clock.now = 1015.0
    eventually(lambda: vms.known(10).glanced == 1015.0)
    heard = vms.known(10).facts
    guest.clock.now = 1060.0
    eventually(lambda: vms.known(10).visited == 1060.0)
    assert guest.known is heard
    assert heard
    assert heard.balloon
    assert heard.balloon.actual_bytes == 192 * MIB


def test_at_rest(vms: Vms, guest: Guest) -> None:
    """Every 15 seconds, each once; the age of the rest is not touched."""
    guest.clock.now = 1014.9
    ticks()
    assert guest.glances == 0
    for number in (1, 2, 3):
        guest.clock.now = 1000.0 + 15 * number
        eventually(lambda wanted=number: guest.glances == wanted)  # type: ignore[misc]
        eventually(lambda: vms.known(10).glanced == guest.clock.now)
        ticks()
        assert guest.glances == number
    assert vms.known(10).visited == 1000.0
    assert guest.visits == 1


def test_on_its_way(vms: Vms, guest: Guest) -> None:
    """Every five seconds, for a minute; what became of it is kept, through visits as well."""
    guest.actual, guest.target = 200, 128
    guest.clock.now = 1015.0
    eventually(lambda: vms.known(10).glanced == 1015.0)
    guest.actual = 128 + 17
    guest.clock.now = 1020.0
    eventually(lambda: vms.known(10).glanced == 1020.0)
    guest.clock.now = 1060.0
    eventually(lambda: guest.visits == 2)
    eventually(lambda: vms.known(10).visited == 1060.0)
    facts = vms.known(10).facts
    assert facts
    assert facts.balloon
    history = facts.balloon.history
    assert (history.inflations, history.inflated_bytes) == (2, 111 * MIB)
    assert (history.short_since, history.seen) == (1015.0, 1060.0)
    guest.clock.now = 1075.0
    eventually(lambda: vms.known(10).glanced == 1075.0)
    glances = guest.glances
    guest.clock.now = 1089.9  # an hour would not help it
    ticks()
    assert guest.glances == glances


def test_unplugged(vms: Vms, guest: Guest) -> None:
    """It is gone when it is, and nobody asks for it again but with everything else."""
    guest.actual = None
    guest.clock.now = 1015.0
    eventually(lambda: guest.glances)
    eventually(lambda: (facts := vms.known(10).facts) and facts.balloon is None)
    guest.clock.now = 1059.0
    ticks()
    assert (guest.glances, guest.visits) == (1, 1)
    guest.actual = 256
    guest.clock.now = 1060.0
    eventually(lambda: (facts := vms.known(10).facts) and facts.balloon)


def test_no_answer(vms: Vms, guest: Guest) -> None:
    """What was known keeps its age, and a VM that does not answer is left alone for longer."""
    guest.refuses = True
    guest.clock.now = 1015.0
    eventually(lambda: vms.known(10).trouble == "no answer")
    known = vms.known(10)
    assert known.facts
    assert known.facts.balloon
    assert known.glanced == known.visited == 1000.0
    guest.clock.now = 1016.9
    ticks()
    assert (guest.glances, guest.visits) == (1, 1)
    guest.refuses = False
    guest.clock.now = 1017.0
    eventually(lambda: vms.known(10).visited == 1017.0)
    assert vms.known(10).trouble == ""


def test_gone_in_the_middle(vms: Vms, guest: Guest) -> None:
    """A VM that ends while it answers leaves nothing behind."""
    guest.clock.now = 1015.0
    eventually(lambda: guest.glances)
    vms.tree.end(10)
    guest.clock.now = 1020.0  # whether VMs are still there is looked at every five seconds
    assert vms.addressing
    eventually(lambda: vms.addressing and not vms.addressing.known())
    ticks()
    assert identity(10) not in vms.addressing.known()


def test_as_often_as_asked_for(tree: ProcfsTree, tmp_path: Path, guest: Guest) -> None:
    """An interval of one second is kept, also by a balloon that is on its way."""
    with Vms(tree, tmp_path) as vms:
        vms.process(10, "-qmp", "unix:/qmp.sock,server=on,wait=off")
        vms.start(guest.visit, guest.clock, guest.glance, glance_seconds=1.0)
        eventually(lambda: vms.known(10).visited)
        guest.actual, guest.target = 200, 128
        for second in (1001.0, 1002.0, 1003.0):
            guest.clock.now = second
            eventually(lambda wanted=second: vms.known(10).glanced == wanted)  # type: ignore[misc]
