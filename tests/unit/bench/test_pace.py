# SPDX-License-Identifier: Apache-2.0
"""Processors are at their best, or somebody has the other half of a core."""

import os
from collections.abc import Iterator

import pytest

from tests.bench.pace import Pace

MINE = sorted(os.sched_getaffinity(0))


class Work:
    """Takes what it is told to; looks count from 0, of each processor one after another."""

    def __init__(self, *looks: float) -> None:
        self._looks = iter(looks)
        self._taking: Iterator[float] = iter(())
        self.where: list[set[int]] = []

    def __call__(self) -> float:
        self.where.append(os.sched_getaffinity(0))
        if (took := next(self._taking, None)) is None:
            took = next(self._looks)
            # The first warms the caches; of the others the quickest counts.
            self._taking = iter((took * 2, took, took * 1.5))
            return took * 9
        return took


def looks(*each: float) -> list[float]:
    """Those of the first processor; all others are at their best."""
    return [took for first in each for took in (first, *[1.0] * (len(MINE) - 1))]


def test_against_the_best_ever() -> None:
    """A tenth more is still that; half as much again is a neighbour."""
    pace = Pace(Work(*looks(1.0, 1.6, 1.10, 1.11, 1.0)))
    assert [pace.is_best() for _ in range(5)] == [True, False, True, False, True]


@pytest.mark.parametrize("disturbed", range(len(MINE)))
def test_one_disturbed_processor_is_enough(disturbed: int) -> None:
    """Nobody knows on which of them the work will be."""
    at = [1.5 if number == disturbed else 1.0 for number in range(len(MINE))]
    pace = Pace(Work(*[1.0] * len(MINE), *at))
    assert pace.is_best()
    assert not pace.is_best()


def test_the_first_looks_are_many() -> None:
    """What is slow from the start is not mistaken for the best."""
    all_slow = [1.5] * len(MINE)
    pace = Pace(Work(*all_slow * 60, *[1.0] * len(MINE), *all_slow * 39, *all_slow))
    pauses: list[float] = []
    pace.learn(pauses.append)
    assert len(pauses) == 100
    assert sum(pauses) == pytest.approx(2.0)
    assert not pace.is_best()


def test_each_processor_has_its_turn() -> None:
    """Four pieces of work on each, and afterwards none is preferred."""
    work = Work(*looks(1.0))
    assert Pace(work).is_best()
    assert [{one} for one in MINE for _ in range(4)] == work.where
    assert os.sched_getaffinity(0) == set(MINE)
