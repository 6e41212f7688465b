# SPDX-License-Identifier: Apache-2.0
"""Steps of the clock, each counted once.

The clock of the machine is only ever set to the time that it has: that is a step for the
kernel, of less than a millisecond. Larger ones are for a machine of their own.
"""

import threading
import time
from collections.abc import Iterator

import pytest

from kvmexporter.model.clocks import ClockReading, Steps
from kvmexporter.sources.clocksteps import StepWatcher

STEPS = 7
SECOND = 10**9


def set_clock_to_itself() -> None:
    try:
        time.clock_settime_ns(time.CLOCK_REALTIME, time.clock_gettime_ns(time.CLOCK_REALTIME))
    except PermissionError:
        pytest.skip("setting the clock takes CAP_SYS_TIME")


def wait_for(watcher: StepWatcher, count: int) -> Steps:
    deadline = time.monotonic() + 10
    while watcher.steps().count < count and time.monotonic() < deadline:
        time.sleep(0.001)
    return watcher.steps()


class Clocks:
    """Clocks that show what a test says; one reading after the other, then the last."""

    def __init__(self, *readings: tuple[int, int, int]) -> None:
        self._readings: Iterator[tuple[int, int, int]] = iter(readings)

    def __call__(self) -> ClockReading:
        realtime, monotonic, boottime = next(self._readings)
        return ClockReading(realtime, monotonic, monotonic, boottime, 0)


def test_a_real_step_is_counted_once() -> None:
    """Each of seven, one after another: the timer is armed again after every one."""
    with StepWatcher() as watcher:
        assert watcher.steps() == Steps()
        for number in range(1, STEPS + 1):
            set_clock_to_itself()
            assert wait_for(watcher, number).count == number
        time.sleep(0.05)
        steps = watcher.steps()
    assert steps.count == STEPS
    # It took at most this long from reading the clock to setting it.
    assert steps.forward_ns + steps.backward_ns < STEPS * 10_000_000


def test_a_step_before_the_first_question() -> None:
    """Is counted, too: the kernel keeps it in mind until the thread begins."""
    with StepWatcher() as watcher:
        set_clock_to_itself()
        assert wait_for(watcher, 1).count == 1


def test_nobody_ever_asked() -> None:
    """There is no thread to end."""
    before = threading.active_count()
    StepWatcher().close()
    assert threading.active_count() == before


def test_nothing_happens_without_a_step() -> None:
    """Waiting costs no processor time and counts nothing."""
    with StepWatcher() as watcher:
        begin = time.process_time_ns()
        time.sleep(0.1)
        assert time.process_time_ns() - begin < 50_000_000
        assert watcher.steps() == Steps()


def test_the_size_is_measured() -> None:
    """Against CLOCK_BOOTTIME: seconds forward, seconds back, whatever time went by."""
    watcher = StepWatcher(
        Clocks(
            (1000 * SECOND, 5 * SECOND, 5 * SECOND),
            (1012 * SECOND, 7 * SECOND, 7 * SECOND),
            (1010 * SECOND, 8 * SECOND, 8 * SECOND),
        )
    )
    with watcher:
        watcher._note()
        assert watcher.steps() == Steps(1, 10 * SECOND, 0, 10 * SECOND)
        watcher._note()
        assert watcher.steps() == Steps(2, 10 * SECOND, 3 * SECOND, -3 * SECOND)


def test_waking_is_no_step() -> None:
    """The kernel cancels the timer after a suspend too; the next step is measured from there."""
    watcher = StepWatcher(
        Clocks(
            (1000 * SECOND, 5 * SECOND, 5 * SECOND),
            (4600 * SECOND, 5 * SECOND, 3605 * SECOND),
            (4603 * SECOND, 6 * SECOND, 3606 * SECOND),
        )
    )
    with watcher:
        watcher._note()
        assert watcher.steps() == Steps()
        watcher._note()
        assert watcher.steps() == Steps(1, 2 * SECOND, 0, 2 * SECOND)


def test_close() -> None:
    """Ends its thread, at once and as often as it is called."""
    before = threading.active_count()
    watcher = StepWatcher()
    assert threading.active_count() == before  # capabilities can still be given up
    assert watcher.steps() == Steps()
    assert threading.active_count() == before + 1
    begin = time.monotonic()
    watcher.close()
    watcher.close()
    assert time.monotonic() - begin < 1
    assert threading.active_count() == before
