# SPDX-License-Identifier: Apache-2.0
"""What happened between two snapshots."""

from kvmexporter.views.rates import series, since
from tests.unit.snapshots import COUNTER, GAUGE, HISTOGRAM, INFO, family, histogram, snapshot


def test_series() -> None:
    """Every series by metric and labels."""
    times = histogram({0: 1}, 5)
    given = snapshot(
        family(COUNTER, {("a", "x"): 2, ("a", "y"): 3}),
        family(GAUGE, {("a",): 5}),
        family(HISTOGRAM, {("a",): times}),
    )
    assert series(given) == {
        ("kvm_vm_test_total", ("a", "x")): 2,
        ("kvm_vm_test_total", ("a", "y")): 3,
        ("kvm_vm_test_bytes", ("a",)): 5,
        ("kvm_vm_test_seconds", ("a",)): times,
    }


def test_since() -> None:
    """Counters and histograms move; gauges and infos do not; a new series began at zero."""
    earlier = snapshot(
        family(COUNTER, {("a", "x"): 2, ("gone", "x"): 7}),
        family(GAUGE, {("a",): 5}),
        family(HISTOGRAM, {("a",): histogram({0: 1}, 5)}),
    )
    later = snapshot(
        family(COUNTER, {("a", "x"): 13, ("a", "new"): 3, ("a", "still"): 0}),
        family(GAUGE, {("a",): 50}),
        family(INFO, {("a", "1"): 1}),
        family(HISTOGRAM, {("a",): histogram({0: 1, 4: 6}, 1005), ("b",): histogram({1: 1}, 9)}),
    )
    assert since(earlier, later) == {
        ("kvm_vm_test_total", ("a", "x")): 11,
        ("kvm_vm_test_total", ("a", "new")): 3,
        ("kvm_vm_test_total", ("a", "still")): 0,
        ("kvm_vm_test_seconds", ("a",)): histogram({4: 6}, 1000),
        ("kvm_vm_test_seconds", ("b",)): histogram({1: 1}, 9),
    }


def test_a_counter_that_began_anew_began_at_zero() -> None:
    """As Prometheus's own rate() has it."""
    earlier = snapshot(
        family(COUNTER, {("a", "x"): 100}), family(HISTOGRAM, {("a",): histogram({0: 9}, 900)})
    )
    later = snapshot(
        family(COUNTER, {("a", "x"): 3}), family(HISTOGRAM, {("a",): histogram({0: 2}, 20)})
    )
    assert since(earlier, later) == {
        ("kvm_vm_test_total", ("a", "x")): 3,
        ("kvm_vm_test_seconds", ("a",)): histogram({0: 2}, 20),
    }
