# SPDX-License-Identifier: Apache-2.0
"""How far a median of repeated measurements can be trusted."""

import random
import statistics
from collections.abc import Sequence

Interval = tuple[float, float]
"""From, to."""

_RESAMPLES = 2000
_TAIL = 0.025
_SEED = 1  # the same numbers say the same


def median_interval(values: Sequence[float]) -> Interval | None:
    """The 95 % bootstrap interval of the median.

    Returns:
        None of a single value: nothing is known of its noise.
    """
    if len(values) < 2:
        return None
    chosen = random.Random(_SEED)
    medians = sorted(
        statistics.median(chosen.choices(values, k=len(values))) for _ in range(_RESAMPLES)
    )
    cut = int(_RESAMPLES * _TAIL)
    return medians[cut], medians[-1 - cut]


def words(interval: Interval | None, factor: float = 1.0, digits: int = 0) -> str:
    """As it follows a median: " (1.2 to 1.4)", "" if there is none."""
    if interval is None:
        return ""
    low, high = interval
    return f" ({low * factor:.{digits}f} to {high * factor:.{digits}f})"
