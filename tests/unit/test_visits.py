# SPDX-License-Identifier: Apache-2.0
"""When each VM is visited: the times alone; what visits do is in `test_addressing*.py`."""

import itertools
import math

import pytest

from kvmexporter.sources.qemu import QemuFacts
from kvmexporter.visits import Pace, VisitedVm
from tests.unit.balloons import observed
from tests.unit.snapshots import vm

FACTS = QemuFacts("10.0.0", (), ())
EVERY = 60.0


@pytest.fixture
def state() -> VisitedVm:
    """A VM that appeared just now."""
    return VisitedVm(vm("a"))


def test_at_once_when_it_appears(state: VisitedVm) -> None:
    """Whatever the clock says; until then it is waited for."""
    assert state.due(EVERY) == 0.0
    assert state.waits


def test_after_the_interval_as_it_is_by_then(state: VisitedVm) -> None:
    """One that is stretched meanwhile holds for those that rest already."""
    state.came(FACTS, 1000.0)
    assert not state.waits
    assert (state.due(EVERY), state.due(10 * EVERY)) == (1060.0, 1600.0)
    assert (state.visited, state.glanced, state.facts) == (1000.0, 1000.0, FACTS)


def test_nobody_to_ask(state: VisitedVm) -> None:
    """It was not visited, and its turn comes again all the same."""
    state.came(None, 1000.0)
    assert state.due(EVERY) == 1060.0
    assert (state.visited, state.facts) == (None, None)


def test_less_and_less_often_while_it_does_not_answer(state: VisitedVm) -> None:
    """Twice as long each time, up to five minutes, however often it fails."""
    waits = []
    for _ in range(2000):
        state.failed("no answer", 1000.0)
        waits.append(state.due(EVERY) - 1000.0)
    assert waits[:9] == [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0]
    assert set(waits[9:]) == {300.0}
    assert state.trouble == "no answer"
    state.came(FACTS, 2000.0)
    assert (state.trouble, state.due(EVERY)) == ("", 2060.0)


def test_for_long_after_an_error_of_our_own(state: VisitedVm) -> None:
    """What the same visit would meet again."""
    state.failed("visiting it failed", 1000.0, for_long=True)
    assert state.due(EVERY) == 1300.0


def test_soon_while_its_guest_boots(state: VisitedVm) -> None:
    """It will come to rest."""
    state.came(FACTS, 1000.0)
    state.boots(1010.0)
    assert state.due(EVERY) == 1011.0


def test_at_once_when_it_touches_much_that_nobody_knows(state: VisitedVm) -> None:
    """More than a hundred accesses since the last look; not while it does not answer."""
    state.came(FACTS, 1000.0)
    state.touched_unknown(100, 1005.0)
    state.touched_unknown(200, 1010.0)
    assert state.due(EVERY) == 1060.0
    state.touched_unknown(301, 1015.0)
    assert state.due(EVERY) == 1015.0
    state.failed("no answer", 1020.0)
    state.touched_unknown(1000, 1021.0)
    assert state.due(EVERY) == 1022.0


def test_a_guest_that_moves_while_it_boots_again(state: VisitedVm) -> None:
    """It is asked once a second, whatever it moves meanwhile."""
    state.came(FACTS, 1000.0)
    state.boots(1010.0)
    assert state.rests(1010.9)
    assert not state.rests(1011.0)


def test_a_guest_that_never_ends_to_touch_what_nobody_knows(state: VisitedVm) -> None:
    """Visits that do not help come later and later, up to five minutes; after a rest, at once."""
    state.came(FACTS, 1000.0)
    visits, touched = [], 0
    for now in range(1000, 3000, 5):
        touched += 1000
        state.touched_unknown(touched, float(now))
        if now >= state.due(math.inf):
            visits.append(now)
            state.came(FACTS, float(now))
    waits = [after - before for before, after in itertools.pairwise(visits)]
    assert waits == [10, 20, 40, 80, 160, 300, 300, 300, 300, 300]
    for now in range(3000, 3400, 5):
        state.touched_unknown(touched, float(now))
    state.touched_unknown(touched + 1000, 3400.0)
    assert state.due(math.inf) == 3400.0
    state.came(FACTS, 3400.0)
    state.touched_unknown(touched + 2000, 3410.0)
    assert state.due(math.inf) == 3410.0


def test_it_rests(state: VisitedVm) -> None:
    """For a second after a visit, and while it does not answer: then moves are not followed."""
    assert state.rests(1000.0)
    state.came(FACTS, 1000.0)
    assert state.rests(1000.9)
    assert not state.rests(1001.0)
    state.failed("no answer", 1002.0)
    assert state.rests(2000.0)


@pytest.mark.parametrize(
    ("seen", "seconds"),
    [([(256, 256), (256, 256)], 15.0), ([(256, 256), (256, 128)], 5.0)],
    ids=["at rest", "on its way"],
)
def test_a_balloon_is_looked_at(
    state: VisitedVm, seen: list[tuple[int, int | None]], seconds: float
) -> None:
    """Every quarter of a minute, and every five seconds while it moves."""
    state.facts, state.glanced = QemuFacts("10.0", (), (), balloon=observed(*seen)), 1010.0
    assert Pace(None).glance_due(state) == 1010.0 + seconds
    assert Pace(3.0).glance_due(state) == 1013.0, "as it was told"
    state.failed("no answer", 1011.0)
    assert Pace(None).glance_due(state) == math.inf


def test_a_balloon_that_does_not_arrive(state: VisitedVm) -> None:
    """After a minute it is looked at like one at rest."""
    stuck = observed((256, 256), (256, 128), *[(256, 128)] * 7)
    state.facts, state.glanced = QemuFacts("10.0", (), (), balloon=stuck), 1080.0
    assert Pace(None).glance_due(state) == 1095.0


def test_no_balloon(state: VisitedVm) -> None:
    """Nothing moves."""
    state.came(FACTS, 1000.0)
    assert Pace(None).glance_due(state) == math.inf


def test_what_moves_is_of_the_past(state: VisitedVm) -> None:
    """After five minutes, and never before a second look at it is due."""
    state.facts, state.glanced = QemuFacts("10.0", (), (), balloon=observed((256, 256))), 1000.0
    pace = Pace(None)
    assert pace.stale_seconds == 300.0
    pace.visits()
    pace.adapt(1000, 0.008)
    assert pace.glance_due(state) - 1000.0 == pytest.approx(1160.0, abs=0.1)
    assert pace.stale_seconds == pytest.approx(2320.0, abs=0.1)
    assert (Pace(200.0).stale_seconds, Pace(1.0).stale_seconds) == (400.0, 300.0), "as it was told"


def test_the_share_of_a_processor() -> None:
    """Visits of 10 ms each, 500 VMs: 0.4 % of a processor allows one in 48 minutes."""
    pace = Pace(None)
    pace.adapt(500, 0.0)
    assert pace.interval_seconds == 60.0, "nobody was asked yet"
    for _ in range(100):
        pace.visits()
    pace.adapt(500, 1.0)
    a_second = 500 * 0.010 * (1 / 60 + 0.33 / 15)
    assert pace.interval_seconds == pytest.approx(60.0 * a_second / 0.004)
    pace.adapt(1, 0.0)
    assert pace.interval_seconds == 60.0, "never more often"
    for _ in range(1000):
        pace.glances()
    pace.adapt(500, 0.0)
    assert pace.interval_seconds == pytest.approx(60.0 * a_second / 0.004 / 4.3)


def test_what_asking_cost_once_is_forgotten() -> None:
    """VMs that answered slowly in the first hour do not slow down the next."""
    pace = Pace(None)
    for seconds_each in (0.1, 0.001):
        for _ in range(100):
            for _ in range(100):
                pace.visits()
            pace.adapt(500, 100 * seconds_each)
    assert pace.interval_seconds == pytest.approx(
        60.0 * 500 * 0.001 * (1 / 60 + 0.33 / 15) / 0.004, 0.5
    )


def test_first_visits_do_not_come_again() -> None:
    """They cost as much as four: those after them are not put off by it."""
    pace = Pace(None)
    for _ in range(100):
        pace.visits(first=True)
    pace.adapt(500, 4 * 100 * 0.003)
    after_the_first = pace.interval_seconds
    assert after_the_first == pytest.approx(60.0 * 500 * 0.003 * (1 / 60 + 0.33 / 15) / 0.004)
    for _ in range(100):
        pace.visits()
    pace.adapt(500, 100 * 0.003)
    assert pace.interval_seconds == pytest.approx(after_the_first)
