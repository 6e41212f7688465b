# SPDX-License-Identifier: Apache-2.0
"""Metrics without a table of their own."""

from kvmexporter.model.metrics import Family, Kind, Metric
from kvmexporter.views.facts import Fact, facts
from tests.unit.snapshots import family, histogram

INFO = Metric("kvm_vm_test_info", Kind.INFO, "What is tested.", ("vm", "device", "bus"))
SINGLE = Metric("kvm_host_test_info", Kind.INFO, "What is tested.", ("what",))
QUESTION = Metric("kvm_host_test_feature", Kind.GAUGE, "Whether it can.", ("cpu", "feature"))
PLAIN = Metric("kvm_host_test_synchronized", Kind.GAUGE, "Whether it is so.")
BYTES = Metric("kvm_vm_test_bytes", Kind.GAUGE, "Bytes tested.", ("vm", "kind"))
TOTAL = Metric("kvm_vm_tests_total", Kind.COUNTER, "Tests run.", ("vm",))
TIMES = Metric("kvm_vm_test_seconds", Kind.HISTOGRAM, "Time of tests.", ("vm",))


def of(*families: Family, vm: str | None = None) -> tuple[Fact, ...]:
    return facts(families, {}, None, vm)


def test_infos() -> None:
    """What it is called, then what is said of it; nothing of what is empty."""
    given = family(INFO, {("a", "nic", "pci"): 1, ("a", "disk", ""): 1, ("b", "x", "y"): 1})
    assert of(given, vm="a") == (Fact("test", "nic", "bus=pci"), Fact("test", "disk", ""))
    assert of(family(SINGLE, {("that",): 1})) == (Fact("test", "", "that"),)


def test_questions() -> None:
    """Are answered in one line for all that differ in the last label."""
    given = family(QUESTION, {("0", "a"): 1, ("0", "b"): 0, ("0", "c"): 1, ("1", "a"): 0})
    assert of(given) == (
        Fact("test feature", "0", "yes: a, c; no: b"),
        Fact("test feature", "1", "no: a"),
    )
    assert of(family(PLAIN, {(): 0})) == (Fact("test synchronized", "", "no"),)


def test_values_in_their_units() -> None:
    """Of one VM alone."""
    given = family(BYTES, {("a", "free"): 3 << 20, ("b", "free"): 1})
    assert of(given, vm="a") == (Fact("test", "free", "3 MiB"),)


def test_counters_are_rates_between_two_snapshots() -> None:
    """And left out if nothing happened."""
    given = family(TOTAL, {("a",): 100})
    assert facts([given], {(TOTAL.name, ("a",)): 5}, 2.0, "a") == (Fact("tests", "", "2.5/s"),)
    assert facts([given], {(TOTAL.name, ("a",)): 0}, 2.0, "a") == ()
    assert facts([given], {}, None, "a") == (Fact("tests", "", "100"),)


def test_times() -> None:
    """How many, and their quantiles."""
    (line,) = of(family(TIMES, {("a",): histogram({0: 101}, 1000)}), vm="a")
    assert line == Fact("test", "", "101, p50 512 ns, p99 1.01 µs")


def test_no_metric_fills_the_screen() -> None:
    """What is beyond forty lines is counted."""
    given = family(BYTES, {("a", str(i)): 1 for i in range(53)})
    lines = of(given, vm="a")
    assert len(lines) == 41
    assert lines[-1] == Fact("test", "13 more", "…")
