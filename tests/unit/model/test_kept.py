# SPDX-License-Identifier: Apache-2.0
"""Nothing that is told is a minute old, and no time takes all of many."""

from itertools import pairwise

import pytest

from kvmexporter.model.kept import FEW, KEPT_SECONDS, Kept, Renewals


def test_few_are_read_every_time() -> None:
    """However little time went by; once at a time."""
    few = list(range(FEW))
    renewals: Renewals[int] = Renewals()
    for now in (1000.0, 1000.5, 1015.0, 2000.0):
        assert sorted(renewals.take(now, few)) == few
        assert renewals.take(now, few) == []


@pytest.mark.parametrize("count", [FEW + 1, 127, 499, 1009])
@pytest.mark.parametrize("interval", [1.0, 7.3, 15.0, 30.0, 59.0, 60.0, 90.0])
def test_many_take_turns(count: int, interval: float) -> None:
    """As many as fit the time that went by, and nobody waits for a minute."""
    renewals: Renewals[int] = Renewals()
    now = 1000.0
    read_at = dict.fromkeys(renewals.take(now, range(count)), now)
    assert len(read_at) == count, "all of them are new"
    for _ in range(100):
        now += interval
        due = renewals.take(now, range(count))
        assert len(due) == len(set(due))
        assert len(due) <= max(FEW, count * interval / KEPT_SECONDS + 1)
        read_at |= dict.fromkeys(due, now)
        assert now - min(read_at.values()) < KEPT_SECONDS


def test_scrapes_that_come_as_they_like() -> None:
    """Two servers that scrape, one of them now and then."""
    renewals: Renewals[int] = Renewals()
    times = sorted([1000.0 + 15 * turn for turn in range(40)] + [1003.0 + 47 * n for n in range(9)])
    read_at = dict.fromkeys(renewals.take(times[0], range(499)), times[0])
    for before, now in pairwise(times):
        due = renewals.take(now, range(499))
        assert len(due) <= max(FEW, 499 * (now - before) / KEPT_SECONDS + 1) + 1
        read_at |= dict.fromkeys(due, now)
        assert now - min(read_at.values()) < KEPT_SECONDS


def test_new_ones_are_read_at_once() -> None:
    """All of them, and those whose turn it is."""
    renewals: Renewals[int] = Renewals()
    renewals.take(1000.0, range(400))
    assert renewals.take(1015.0, range(420)) == [*range(400, 420), *range(100)]
    assert renewals.take(1015.0, range(421)) == [420], "at the same time, somebody else"
    assert renewals.take(1030.0, range(421))[:2] == [100, 101]


def test_who_was_away_is_new() -> None:
    """Nothing is kept of who is not there."""
    renewals: Renewals[int] = Renewals()
    renewals.take(1000.0, range(400))
    renewals.take(1001.0, range(399))
    assert renewals.take(1002.0, range(400))[0] == 399


def test_what_was_read() -> None:
    """Is told until it is read again."""
    values = dict.fromkeys(range(100), "old")
    kept = Kept(values.__getitem__)
    kept.look(1000.0, range(100))
    values.update(dict.fromkeys(values, "new"))
    kept.look(1015.0, range(100))
    assert [kept.of(one) for one in range(100)] == ["new"] * FEW + ["old"] * (100 - FEW)
    kept.look(1060.0, range(99))
    assert {kept.of(one) for one in range(99)} == {"new"}
    assert kept.get(99) is None
