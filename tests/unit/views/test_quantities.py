# SPDX-License-Identifier: Apache-2.0
"""Numbers for people."""

import pytest

from kvmexporter.model.metrics import Kind, Metric, Value
from kvmexporter.views import quantities
from tests.unit.snapshots import histogram


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ns"),
        (1e-9, "1 ns"),
        (512e-9, "512 ns"),
        (1e-6, "1 µs"),
        (1.024e-6, "1.02 µs"),
        (0.5e-3, "500 µs"),
        (1e-3, "1 ms"),
        (0.12345, "123 ms"),
        (-0.12345, "-123 ms"),
        (1.0, "1 s"),
        (4.294967296, "4.29 s"),
        (59.96, "60 s"),
        (1234567.0, "1,234,567 s"),
    ],
)
def test_duration(seconds: float, text: str) -> None:
    """Three digits and the unit that fits."""
    assert quantities.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1,023 B"), (1024, "1 KiB"), (3 << 29, "1.5 GiB"), (1 << 60, "1,024 PiB")],
)
def test_size(count: float, text: str) -> None:
    """In powers of 1024."""
    assert quantities.size(count) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (7, "7"), (7.25, "7.2"), (9999, "9999"), (12345, "12.3k"), (2.5e7, "25M"),
     (7e9, "7G")],
)  # fmt: skip
def test_short(count: float, text: str) -> None:
    """At most six characters."""
    assert quantities.short(count) == text
    assert len(text) <= 6


def test_rate_and_share() -> None:
    """Per second, or as it is; percent of something."""
    assert quantities.rate(5003, 2.5) == "2,001.2"
    assert quantities.rate(5003, None) == "5,003"
    assert quantities.share(1, 8) == "12.5%"
    assert quantities.share(1, 0) == ""


def test_quantiles() -> None:
    """Of what was observed."""
    times = histogram({0: 100}, 51_200)
    assert quantities.quantile(times, 0.5) == "512 ns"
    assert quantities.mean(times) == "512 ns"
    assert quantities.quantile(None, 0.5) == quantities.mean(histogram({}, 0)) == ""


@pytest.mark.parametrize(
    ("name", "kind", "number", "seconds", "text"),
    [
        ("kvm_vm_tests_total", Kind.COUNTER, 100, None, "100"),
        ("kvm_vm_tests_total", Kind.COUNTER, 100, 8.0, "12.5/s"),
        ("kvm_vm_test_seconds_total", Kind.COUNTER, 1.0, 2.0, "500 ms/s"),
        ("kvm_vm_test_bytes_total", Kind.COUNTER, 4096, 2.0, "2 KiB/s"),
        ("kvm_vm_test_bytes", Kind.GAUGE, 4096, 2.0, "4 KiB"),
        ("kvm_vm_test_seconds", Kind.GAUGE, 0.5, 2.0, "500 ms"),
        ("kvm_host_test_hertz", Kind.GAUGE, 2_596_142_000, None, "2,596.142 MHz"),
        ("kvm_host_test_ratio", Kind.GAUGE, 0.295991238, None, "29.6%"),
        ("kvm_host_test_ratio", Kind.GAUGE, 1.0, None, "100%"),
        ("kvm_host_test_ratio", Kind.GAUGE, 5e-4, None, "500 ppm"),
        ("kvm_host_test_ratio", Kind.GAUGE, -2.3456e-6, None, "-2.35 ppm"),
        ("kvm_host_test_ratio", Kind.GAUGE, 9.89952173e-11, None, "0.099 ppb"),
        ("kvm_host_test_ratio", Kind.GAUGE, 1e-20, None, "0"),
        ("kvm_host_test_ratio", Kind.GAUGE, 0.0, None, "0"),
        ("kvm_vm_test", Kind.GAUGE, 0.5, None, "0.5"),
        ("process_start_time_seconds", Kind.GAUGE, 1.7e9, None, "2023-11-14 22:13:20 UTC"),
        ("kvm_vm_test_seconds", Kind.HISTOGRAM, histogram({0: 4}, 9), 2.0,
         "2.0/s, p50 512 ns, p99 1.01 µs"),
        ("kvm_vm_test_seconds", Kind.HISTOGRAM, histogram({}, 0), 2.0, "0.0/s"),
    ],
)  # fmt: skip
def test_value(name: str, kind: Kind, number: Value, seconds: float | None, text: str) -> None:
    """In the unit that the name says."""
    assert quantities.value(Metric(name, kind, "Tested."), number, seconds) == text


@pytest.mark.parametrize(
    ("name", "kind", "title"),
    [
        ("kvm_vm_clock_offset_seconds", Kind.GAUGE, "clock offset"),
        ("kvm_vm_info", Kind.INFO, "info"),
        ("kvm_host_clock_step_seconds_total", Kind.COUNTER, "clock step"),
        ("process_open_fds", Kind.GAUGE, "process open fds"),
    ],
)
def test_title(name: str, kind: Kind, title: str) -> None:
    """Words: without whose it is, kind and unit."""
    assert quantities.title(Metric(name, kind, "Tested."), ("kvm_vm_", "kvm_host_")) == title
