# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is to be looked at, where looking at all of them each time would take too long."""

from collections.abc import Collection, Hashable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Turns(Generic[K]):
    """Takes turns: those looked at longest ago first, new ones before all others.

    Args:
        most: what may be looked at each time; one is, whatever it weighs.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._round = 0
        self._last: dict[K, int] = {}

    def take(self, weights: Mapping[K, int], urgent: Collection[K] = ()) -> set[K]:
        """Whose turn it is now.

        Args:
            weights: everybody there is → what looking at it takes; who is not named is forgotten.
            urgent: who cannot wait, and goes before new ones.
        """
        self._round += 1
        last = {one: self._last.get(one, 0) for one in weights}
        taken: set[K] = set()
        left = self._most
        for one in sorted(last, key=lambda one: -1 if one in urgent else last[one]):
            left -= weights[one]
            if taken and left < 0:
                break
            taken.add(one)
            last[one] = self._round
        self._last = last
        return taken
