# SPDX-License-Identifier: Apache-2.0
"""How collectors stand with what they need."""

from collections.abc import Iterable
from typing import ClassVar

from kvmexporter.collector import Collector, Cycle
from kvmexporter.diagnosis import Examination, examine
from kvmexporter.errors import Unavailable
from kvmexporter.model.metrics import Family
from kvmexporter.model.needs import PLATFORMS, Standing, Verdict
from kvmexporter.needs import Need, Place
from kvmexporter.sampler import State
from kvmexporter.sources.system import System
from tests.unit.snapshots import status

OK, DEGRADED, MISSING = Standing
LOOKED: list[str] = []


def need(name: str, standing: Standing) -> Need:
    def check(_: Place) -> Verdict:
        LOOKED.append(name)
        return Verdict(standing, f"{name} is {standing}")

    return Need(name, check)


FINE, WORSE, GONE = need("kvm", OK), need("qmp", DEGRADED), need("bcc", MISSING)
PLACE = Place(Unavailable("none", "none"), (), {}, System())


class Quiet(Collector[None]):
    """Needs nothing."""

    name = "quiet"
    summary = "nothing"
    metrics = ()
    needs: ClassVar[tuple[Need, ...]] = ()

    def sample(self, cycle: Cycle) -> None:
        """Never called."""

    def families(self, sample: None) -> Iterable[Family]:  # noqa: ARG002 - as declared
        return ()


class Picky(Quiet):
    """Cannot do without."""

    name = "picky"
    needs = (FINE, GONE)


class Modest(Quiet):
    """Does worse without."""

    name = "modest"
    needs = (FINE,)
    wants = (GONE, WORSE)


class Tried(Quiet):
    """Has all that it needs."""

    name = "tried"
    needs = (FINE,)


def found(*asked: str, state: State = State.OK) -> Examination:
    statuses = [status("picky"), status("modest"), status("tried", state, "it broke")]
    return examine((Quiet, Picky, Modest, Tried), statuses, PLACE, "fedora", asked)


def test_each_need_is_checked_once() -> None:
    """However many collectors have it; with its remedies, if it is not ok."""
    LOOKED.clear()
    lines = found().needs
    assert LOOKED == ["kvm", "bcc", "qmp"]
    assert [(one.name, one.verdict.standing) for one in lines] == [
        ("kvm", OK),
        ("bcc", MISSING),
        ("qmp", DEGRADED),
    ]
    assert lines[0].concerned == ("picky", "modest", "tried")
    assert lines[0].remedies == {}
    assert set(lines[1].remedies) == set(PLATFORMS)


def test_collectors() -> None:
    """Are as their worst need is; what they want costs them no more than a grade."""
    assert [(one.name, one.verdict.standing, one.concerned) for one in found().collectors] == [
        ("quiet", OK, ()),
        ("picky", MISSING, ("bcc",)),
        ("modest", DEGRADED, ("bcc", "qmp")),
        ("tried", OK, ()),
    ]


def test_what_was_tried_counts_more() -> None:
    """One that gave nothing is missing."""
    line = found(state=State.FAILED).collectors[-1]
    assert line.verdict == Verdict(MISSING, "it broke")


def test_only_what_was_asked_for_can_fail() -> None:
    """And only if it is missing."""
    assert found().failed == ()
    assert found("picky", "modest", "quiet").failed == ("picky",)
    assert found("tried", state=State.UNAVAILABLE).failed == ("tried",)
