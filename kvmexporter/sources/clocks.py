# SPDX-License-Identifier: Apache-2.0
"""The system's clocks read together, what one reading costs, and how they drift apart.

Source: clock_gettime(2), through the vDSO: some microseconds a sample, or some
milliseconds where the clocksource has to be read through a system call.
"""

import itertools
import time
from collections import deque
from collections.abc import Callable, Mapping

from kvmexporter.model.clocks import ClockReading, Drift, drift
from kvmexporter.units import NS_PER_SECOND

# Below ten seconds the readings' own spread, a tenth of a microsecond, would be seen in
# a drift of parts in ten million.
MIN_WINDOW_NS = 10 * NS_PER_SECOND
_MIN_APART_NS = NS_PER_SECOND

_TRIES = 5
_BATCHES = 17
_BATCH = 20
# An emulated timer below another hypervisor was seen to take 0.7 ms a reading.
_BUDGET_NS = 5_000_000

ReadClock = Callable[[int], int]


def read_clocks(read: ReadClock = time.clock_gettime_ns) -> ClockReading:
    """All clocks at as nearly the same moment as a few tries can do.

    Args:
        read: a clock's id → its time, nanoseconds.
    """
    return min((_read_once(read) for _ in range(_TRIES)), key=lambda reading: reading.spread_ns)


def _read_once(read: ReadClock) -> ClockReading:
    before = read(time.CLOCK_MONOTONIC_RAW)
    realtime = read(time.CLOCK_REALTIME)
    monotonic = read(time.CLOCK_MONOTONIC)
    boottime = read(time.CLOCK_BOOTTIME)
    after = read(time.CLOCK_MONOTONIC_RAW)
    return ClockReading(realtime, monotonic, (before + after) // 2, boottime, after - before)


def read_cost_ns(read: ReadClock = time.clock_gettime_ns) -> float:
    """What reading CLOCK_REALTIME costs, nanoseconds, the interpreter's part included.

    That part is about 70 ns; a clocksource that needs a system call or an exit to the
    hypervisor costs a microsecond and more. The median of a few batches, of fewer where
    that would take long.

    Args:
        read: what is timed.
    """
    batches: list[int] = []
    while len(batches) < _BATCHES and sum(batches) < _BUDGET_NS:
        batches.append(_batch_ns(read))
    # The median; the library's would bring half a megabyte of decimal arithmetic along.
    return sorted(batches)[len(batches) // 2] / _BATCH


def _batch_ns(read: ReadClock) -> int:
    begin = time.perf_counter_ns()
    deque(map(read, itertools.repeat(time.CLOCK_REALTIME, _BATCH)), maxlen=0)
    return time.perf_counter_ns() - begin


class DriftWindow:
    """Drift against a reference, over the shortest window of at least ten seconds."""

    def __init__(self) -> None:
        self._readings: deque[tuple[int, Mapping[str, int]]] = deque()

    def observe(self, reference_ns: int, clocks: Mapping[str, int]) -> Drift | None:
        """Add a reading.

        Args:
            reference_ns: the reference's time.
            clocks: clock → its time at that moment, nanoseconds.

        Returns:
            the drift since the latest reading that is at least ten seconds old; None as
            long as there is none.
        """
        readings = self._readings
        if readings and reference_ns < readings[-1][0]:
            readings.clear()  # the reference itself was set back
        while len(readings) > 1 and reference_ns - readings[1][0] >= MIN_WINDOW_NS:
            readings.popleft()
        now = (reference_ns, dict(clocks))
        result = None
        if readings and reference_ns - readings[0][0] >= MIN_WINDOW_NS:
            result = drift(readings[0], now)
        # However often it is scraped, a dozen readings are enough.
        if not readings or reference_ns - readings[-1][0] >= _MIN_APART_NS:
            readings.append(now)
        return result
