# SPDX-License-Identifier: Apache-2.0
"""Conversions to base units."""

import pytest

from kvmexporter import units


@pytest.mark.parametrize(
    ("ns", "seconds"), [(0, 0.0), (1, 1e-9), (1_500_000_000, 1.5), (-250_000_000, -0.25)]
)
def test_ns_to_seconds(ns: int, seconds: float) -> None:
    """Seconds leave the process."""
    assert units.ns_to_seconds(ns) == seconds


@pytest.mark.parametrize(("kib", "size"), [(0, 0), (1, 1024), (2097152, 2 << 30)])
def test_kib_to_bytes(kib: int, size: int) -> None:
    """The "kB" of procfs are 1024 bytes."""
    assert units.kib_to_bytes(kib) == size


@pytest.mark.parametrize(
    ("ticks", "rate", "ns"),
    [(0, 100, 0), (1, 100, 10_000_000), (7, 1024, 6_835_937), (10**12, 100, 10**19)],
)
def test_ticks_to_ns(ticks: int, rate: int, ns: int) -> None:
    """Exact where the rate divides a second, rounded down where not, however long it is up."""
    assert units.ticks_to_ns(ticks, rate) == ns


def test_us_to_ns() -> None:
    """The kernel's microseconds."""
    assert units.us_to_ns(1_000_003) == 1_000_003_000


def test_khz_to_hz() -> None:
    """The kernel's kilohertz."""
    assert units.khz_to_hz(2_399_997) == 2_399_997_000


@pytest.mark.parametrize(("scaled", "ratio"), [(0, 0.0), (65536, 1e-6), (-6553600, -1e-4)])
def test_scaled_ppm_to_ratio(scaled: int, ratio: float) -> None:
    """adjtimex(2): 65,536 is one part per million."""
    assert units.scaled_ppm_to_ratio(scaled) == pytest.approx(ratio, rel=1e-12)
