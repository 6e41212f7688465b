# SPDX-License-Identifier: Apache-2.0
"""Clocks read together, their cost, their drift."""

import time

import pytest

from kvmexporter.sources.clocks import DriftWindow, read_clocks, read_cost_ns

SECOND = 10**9


def test_this_system() -> None:
    """The real clocks, each in its place, read within a millisecond."""
    before = time.monotonic_ns()
    reading = read_clocks()
    after = time.monotonic_ns()
    assert before <= reading.monotonic_ns <= after
    assert reading.boottime_ns >= reading.monotonic_ns
    assert abs(reading.realtime_ns - time.time_ns()) < SECOND
    raw = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
    assert raw - SECOND < reading.monotonic_raw_ns <= raw
    assert 0 < reading.spread_ns < 1_000_000


def test_the_closest_try_is_taken() -> None:
    """Of several tries, one that was interrupted is not used."""
    now = 0
    calls = 0

    def read(clock: int) -> int:
        nonlocal now, calls
        calls += 1
        now += 10 if calls in range(11, 16) else 1000  # the third of five tries
        return now + clock * 1_000_000

    reading = read_clocks(read)
    assert calls == 25
    assert reading.spread_ns == 40


def test_cost() -> None:
    """More than no time, less than any clocksource needs."""
    assert 10 < read_cost_ns() < 100_000


def test_a_slow_clock_stalls_nothing() -> None:
    """An emulated timer is read fewer times, and its cost is told as it is."""

    def slow(clock: int) -> int:
        time.sleep(0.001)
        return clock

    begin = time.monotonic()
    cost_ns = read_cost_ns(slow)
    assert time.monotonic() - begin < 0.5
    assert 1_000_000 <= cost_ns < 20_000_000


def test_no_drift_before_ten_seconds() -> None:
    """Not zero, not NaN: none."""
    window = DriftWindow()
    assert window.observe(0, {"a": 0}) is None
    assert window.observe(10 * SECOND - 1, {"a": 10 * SECOND}) is None
    drift = window.observe(10 * SECOND, {"a": 10 * SECOND + 7_000})
    assert drift is not None
    assert (drift.window_ns, drift.ratios) == (10 * SECOND, {"a": 7e-7})


@pytest.mark.parametrize("interval", [1 / 13, 1, 3, 7, 10, 15, 61])
def test_the_window_is_the_shortest_that_is_long_enough(interval: float) -> None:
    """However often it is scraped; a steady drift reads the same over any."""
    window = DriftWindow()
    step = int(interval * SECOND)
    windows = []
    for number in range(97 if interval >= 1 else 1009):
        now = number * step
        if drift := window.observe(now, {"a": now + now // 100_000}):
            windows.append(drift.window_ns)
            assert drift.ratios["a"] == pytest.approx(1e-5, rel=1e-5)
    # Readings closer than a second are not all kept.
    assert min(windows) >= 10 * SECOND
    assert max(windows) < 10 * SECOND + max(step, SECOND) + step


def test_memory_is_bounded() -> None:
    """A scraper that comes a thousand times a second leaves a dozen readings."""
    window = DriftWindow()
    for number in range(60_000):
        window.observe(number * SECOND // 1000, {"a": number})
    assert len(window._readings) <= 12


def test_a_reference_that_goes_back() -> None:
    """It begins anew, without an absurd ratio."""
    window = DriftWindow()
    window.observe(100 * SECOND, {"a": 0})
    assert window.observe(50 * SECOND, {"a": 1}) is None
    drift = window.observe(61 * SECOND, {"a": 1 + 11 * SECOND})
    assert drift is not None
    assert (drift.window_ns, drift.ratios) == (11 * SECOND, {"a": 0.0})
