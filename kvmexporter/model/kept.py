# SPDX-License-Identifier: Apache-2.0
"""What is read of each of many and told for a minute: reading all each time takes too long."""

from collections.abc import Callable, Collection, Hashable
from math import ceil
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

KEPT_SECONDS = 60.0
FEW = 32
"""As many are read each time, however little time went by."""


class Renewals(Generic[K]):
    """Who is to be read now, so that nothing is told that is a minute old.

    New ones, and of the others those that were read longest ago: of so many as time went by of
    that minute, so that no time takes all of them unless a minute has gone by.
    """

    def __init__(self) -> None:
        self._now = 0.0
        self._read_at: dict[K, float] = {}

    def take(self, now: float, there: Collection[K]) -> list[K]:
        """Who is to be read now; at the same time as before, new ones alone.

        Args:
            now: seconds, of a clock that is not set.
            there: everybody there is; who is not named is forgotten.
        """
        due = [one for one in there if one not in self._read_at]
        if now != self._now:
            # Read longest ago first: the dictionary's order.
            kept = set(there)
            self._read_at = {one: at for one, at in self._read_at.items() if one in kept}
            share = (now - self._now) / KEPT_SECONDS
            most = max(FEW, ceil(len(self._read_at) * share))
            for place, (one, at) in enumerate(self._read_at.items()):
                if place >= most and now - at < KEPT_SECONDS:
                    break
                due.append(one)
            self._now = now
        for one in due:
            self._read_at.pop(one, None)
            self._read_at[one] = now
        return due


class Kept(Generic[K, V]):
    """What was read of each, less than a minute ago.

    Args:
        read: reads one.
    """

    def __init__(self, read: Callable[[K], V]) -> None:
        self._read = read
        self._renewals: Renewals[K] = Renewals()
        self._known: dict[K, V] = {}

    def look(self, now: float, there: Collection[K]) -> None:
        """Read those whose turn it is, as `Renewals.take` has it; forget who is not there."""
        due = self._renewals.take(now, there)
        if len(self._known) + len(due) > len(there):
            known = self._known
            self._known = {one: known[one] for one in there if one in known}
        for one in due:
            self._known[one] = self._read(one)

    def of(self, one: K) -> V:
        """What was read of one that was there at the last look."""
        return self._known[one]

    def get(self, one: K) -> V | None:
        """The same; None of one that was not."""
        return self._known.get(one)
