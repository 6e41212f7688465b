# SPDX-License-Identifier: Apache-2.0
"""How fast counters have moved lately: for advice, which has to tell now from long ago."""

from array import array
from collections.abc import Hashable, Mapping
from typing import Generic, NamedTuple, TypeVar

G = TypeVar("G", bound=Hashable)
K = TypeVar("K", bound=Hashable)

# Short enough to notice, long enough to mean something; `dump` takes two samples a second apart.
_WINDOW_SECONDS = 30.0
_MIN_SECONDS = 0.5


class _Totals(NamedTuple, Generic[K]):
    """What a group had counted, in little memory: groups have the same counters, mostly."""

    counters: tuple[K, ...]
    counts: "array[int]"


class RecentRates(Generic[G, K]):
    """Rates over the last half minute, or as much of it as there is.

    Counters come in groups, of which most stand still at any time: those cost a comparison. Two
    samples are kept at most: that from which rates are told, and that which takes its place.

    Args:
        least: what moves a group in all, per second, for it to be told of; of what moves less,
            two sums are all that is made. The counters of a group must not fall, added up.
    """

    def __init__(self, least: float = 0.0) -> None:
        self._least = least
        self._kept: list[tuple[float, Mapping[G, _Totals[K]]]] = []

    def observe(
        self, now: float, totals: Mapping[G, Mapping[K, int]]
    ) -> Mapping[G, Mapping[K, float]]:
        """Add what was counted so far.

        Args:
            now: seconds, CLOCK_MONOTONIC.
            totals: group → counter → what it counted, never falling while it is there.

        Returns:
            group → counter → per second, since the kept sample that is half a minute old or less;
            a group or counter that stood still is left out, so is a group that moved less than
            is told of, and so is everything as long as no sample is half a second old. A counter
            that is new began at 0.
        """
        kept = self._kept
        if len(kept) > 1 and now - kept[1][0] >= _WINDOW_SECONDS / 2:
            del kept[0]
        compact = {
            group: _Totals(tuple(own), array("Q", own.values())) for group, own in totals.items()
        }
        rates: dict[G, dict[K, float]] = {}
        if kept and (seconds := now - kept[0][0]) >= _MIN_SECONDS:
            before = kept[0][1]
            rates = {
                group: moved
                for group, own in compact.items()
                if (moved := self._moved(before.get(group), own, seconds))
            }
        if not kept or now - kept[-1][0] >= _WINDOW_SECONDS / 2:
            kept.append((now, self._shared(compact)))
        return rates

    def _moved(self, before: _Totals[K] | None, now: _Totals[K], seconds: float) -> dict[K, float]:
        if before == now:
            return {}
        if self._least:
            moved = sum(now.counts) - (sum(before.counts) if before else 0)
            if moved < self._least * seconds:
                return {}
        known = dict(zip(*before, strict=True)) if before else {}
        return {
            counter: max(total - known.get(counter, 0), 0) / seconds
            for counter, total in zip(*now, strict=True)
            if total != known.get(counter, 0)
        }

    def _shared(self, totals: Mapping[G, _Totals[K]]) -> Mapping[G, _Totals[K]]:
        """The same, with equal tuples of counters as one object."""
        known: dict[tuple[K, ...], tuple[K, ...]] = {}
        return {
            group: _Totals(known.setdefault(own.counters, own.counters), own.counts)
            for group, own in totals.items()
        }
