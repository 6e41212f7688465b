# SPDX-License-Identifier: Apache-2.0
"""The TSC's frequency: of this machine, and of counters that are no clock."""

import platform
from itertools import count

import pytest

from kvmexporter.sources.tsc import counter, measure_hz


def test_this_machine() -> None:
    """Two measurements agree to a thousandth, and the counter only grows."""
    read = counter()
    assert (read is not None) == (platform.machine() == "x86_64")
    if read is not None:
        assert read() < read()
        first, second = measure_hz(read), measure_hz(read)
        assert first
        assert second
        assert first == pytest.approx(second, rel=1e-3)


def test_measuring() -> None:
    """Cycles over time."""
    times, cycles = iter([1_000, 31_001_000]), iter([5, 5 + 77_500_000])
    slept: list[float] = []
    hz = measure_hz(lambda: next(cycles), lambda: next(times), slept.append)
    assert hz == 2_500_000_000
    assert slept == [0.03]


@pytest.mark.parametrize("step", [0, 1, -5, 10**12])
def test_what_is_no_clock(step: int) -> None:
    """One that stands still, creeps, goes back or races is not believed."""
    cycles = count(0, step)
    times = iter([0, 30_000_000])
    assert measure_hz(lambda: next(cycles), lambda: next(times), lambda _: None) is None


def test_no_counter_and_no_time() -> None:
    """Neither is an error."""
    assert measure_hz(None) is None
    assert measure_hz(lambda: 1, lambda: 1, lambda _: None) is None
