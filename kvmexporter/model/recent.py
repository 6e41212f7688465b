# SPDX-License-Identifier: Apache-2.0
"""How fast counters have moved lately: for advice, which has to tell now from long ago."""

from collections import deque
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

# Short enough to notice, long enough to mean something; `dump` takes two samples a second apart.
_WINDOW_SECONDS = 30.0
_MIN_SECONDS = 0.5
_MIN_APART_SECONDS = 5.0


class RecentRates(Generic[K]):
    """Rates over the last half minute, or as much of it as there is."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, Mapping[K, int]]] = deque()

    def observe(self, now: float, totals: Mapping[K, int]) -> Mapping[K, float]:
        """Add what was counted so far.

        Args:
            now: seconds, CLOCK_MONOTONIC.
            totals: counter → its value, never falling while it is there; kept, and so not to be
                changed afterwards.

        Returns:
            counter → per second, since the oldest sample of the window; empty as long as there
            is none that is half a second old. A counter that is new began at 0.
        """
        samples = self._samples
        while len(samples) > 1 and now - samples[1][0] >= _WINDOW_SECONDS:
            samples.popleft()
        rates: dict[K, float] = {}
        if samples and (seconds := now - samples[0][0]) >= _MIN_SECONDS:
            before = samples[0][1]
            rates = {
                key: max(count - before.get(key, 0), 0) / seconds for key, count in totals.items()
            }
        if not samples or now - samples[-1][0] >= _MIN_APART_SECONDS:
            samples.append((now, totals))
        return rates
