# SPDX-License-Identifier: Apache-2.0
"""The host's clocks as metrics."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kvmexporter.collectors.timekeeping import TimekeepingCollector
from kvmexporter.errors import Unavailable
from kvmexporter.model.clocks import TimexReading
from kvmexporter.model.role import Role
from kvmexporter.sources.procfs import Procfs
from kvmexporter.sources.system import System
from kvmexporter.sources.timex import adjtimex
from tests.unit.clock_tree import ClockTree
from tests.unit.host import Host

Series = dict[tuple[str, ...], float]

ARTEFACT = TimexReading(0, 2**32, 0, 500, 20, 0x2001, 10_000, 37)
UNSYNCHRONIZED = TimexReading(5, 0, 0, 16_000_000, 16_000_000, 0x40, 10_000, 0)
MICROSECONDS = TimexReading(0, -1500, -65_536 * 12, 2500, 30, 0x1, 10_000, 37)
NANOSECONDS = TimexReading(0, -1500, 65_536 * 12, 2500, 30, 0x2001, 10_000, 37)


def series(collector: TimekeepingCollector, host: Host) -> dict[str, Series]:
    """Metric → labels → value, without the prefix; metrics without series left out."""
    result: dict[str, Series] = {}
    for family in collector.families(collector.sample(host.cycle())):
        for sample in family.samples:
            assert isinstance(sample.value, int | float)
            name = family.metric.name.removeprefix("kvm_host_")
            result.setdefault(name, {})[sample.labels] = sample.value
    return result


class Made:
    """Collectors of one host, closed at the end."""

    def __init__(self, host: Host, tree: ClockTree) -> None:
        self.host = host
        self.tree = tree
        self.collectors: list[TimekeepingCollector] = []

    def collector(self, system: System | None = None) -> TimekeepingCollector:
        system = system or self.system()
        sources = replace(self.host.sources(), procfs=Procfs(self.tree.proc), system=system)
        self.collectors.append(TimekeepingCollector(sources))
        return self.collectors[-1]

    def system(self, *readings: TimexReading) -> System:
        answers = iter(readings)
        return System(
            role=Role(True, False, "/dev/kvm is there"),
            sysfs=self.tree.sysfs,
            devices=self.tree.dev,
            adjtimex=(lambda: next(answers)) if readings else adjtimex,
        )

    def series(self, *readings: TimexReading) -> dict[str, Series]:
        return series(self.collector(self.system(*readings)), self.host)


@pytest.fixture
def made(host: Host, tmp_path: Path) -> Iterator[Made]:
    made = Made(host, ClockTree(tmp_path))
    yield made
    for collector in made.collectors:
        collector.close()


def test_everything_that_a_calm_host_shows(made: Made) -> None:
    """One scrape of a host with a synchronised clock, whole but for what time changes."""
    made.tree.attribute("module/kvm/parameters/halt_poll_ns", "200000")
    made.tree.attribute("module/kvm/parameters/kvmclock_periodic_sync", "Y")
    made.tree.attribute("module/kvm/parameters/ignore_msrs", "N")
    made.tree.attribute("module/kvm_intel/parameters/preemption_timer", "Y")
    made.tree.ptp("ptp0", "igb-eth0")
    result = made.series(NANOSECONDS)
    assert 0 < result.pop("clock_read_seconds")[()] < 1e-4
    assert result == {
        "clocksource_info": {
            ("tsc", "current"): 1,
            ("hpet", "available"): 1,
            ("acpi_pm", "available"): 1,
        },
        "clocksource_watch_info": {("sampling",): 1},
        "tsc_feature": {
            ("constant",): 1,
            ("nonstop",): 1,
            ("known_freq",): 0,
            ("reliable",): 0,
            ("adjust",): 0,
            ("deadline_timer",): 1,
            ("invariant",): 1,
        },
        "clock_offset_seconds": {(): -1.5e-6},
        "clock_estimated_error_seconds": {(): 3e-5},
        "clock_max_error_seconds": {(): 2.5e-3},
        "clock_synchronized": {(): 1},
        "clock_frequency_adjustment_ratio": {(): pytest.approx(1 + 12e-6, abs=1e-15)},
        "clock_tai_offset_seconds": {(): 37},
        "clock_rejected_readings_total": {(): 0},
        "clock_steps_total": {(): 0},
        "clock_step_seconds_total": {("forward",): 0, ("backward",): 0},
        "module_parameter": {
            ("kvm", "halt_poll_ns"): 200_000,
            ("kvm", "kvmclock_periodic_sync"): 1,
            ("kvm_intel", "preemption_timer"): 1,
        },
        "ptp_device_info": {("ptp0", "igb-eth0"): 1},
    }


def test_microseconds(made: Made) -> None:
    """The same number without STA_NANO is a thousand times as much."""
    result = made.series(MICROSECONDS)
    assert result["clock_offset_seconds"] == {(): -1.5e-3}
    assert result["clock_max_error_seconds"] == {(): 2.5e-3}
    assert result["clock_frequency_adjustment_ratio"][()] == pytest.approx(1 - 12e-6, abs=1e-15)


def test_the_artefact(made: Made) -> None:
    """For a moment no offset at all, and one rejected reading for ever."""
    collector = made.collector(made.system(NANOSECONDS, ARTEFACT, NANOSECONDS))
    offsets, rejected = [], []
    for _ in range(3):
        result = series(collector, made.host)
        offsets.append(result.get("clock_offset_seconds"))
        rejected.append(result["clock_rejected_readings_total"][()])
        assert result["clock_synchronized"] == {(): 1}
    assert offsets == [{(): -1.5e-6}, None, {(): -1.5e-6}]
    assert rejected == [0, 1, 1]


def test_unsynchronized(made: Made) -> None:
    """As a metric and as advice."""
    collector = made.collector(made.system(UNSYNCHRONIZED, UNSYNCHRONIZED))
    result = series(collector, made.host)
    assert result["clock_synchronized"] == {(): 0}
    assert result["clock_max_error_seconds"] == {(): 16}
    findings = collector.findings(collector.sample(made.host.cycle()))
    assert [finding.rule for finding in findings] == ["host-clock-unsynchronized"]


def test_no_adjtimex(made: Made) -> None:
    """A filter that forbids it costs its own metrics and no other."""

    def refuse() -> TimexReading:
        raise Unavailable("adjtimex: Operation not permitted", "let it pass")

    result = series(made.collector(replace(made.system(), adjtimex=refuse)), made.host)
    assert "clock_synchronized" not in result
    assert "clock_offset_seconds" not in result
    assert result["clocksource_info"]
    assert result["clock_steps_total"] == {(): 0}


def test_a_change_of_the_clocksource(made: Made) -> None:
    """Counted, and told as advice with what to do."""
    collector = made.collector(made.system(NANOSECONDS, NANOSECONDS))
    assert "clocksource_changes_total" not in series(collector, made.host)
    made.tree.clocksource("hpet", "hpet acpi_pm")
    sample = collector.sample(made.host.cycle())
    changes = {
        sample.labels: sample.value
        for family in collector.families(sample)
        if family.metric.name == "kvm_host_clocksource_changes_total"
        for sample in family.samples
    }
    assert changes == {("tsc", "hpet"): 1}
    assert [finding.rule for finding in collector.findings(sample)] == [
        "host-clocksource-not-tsc",
        "host-clocksource-changed",
    ]


def test_another_architecture(made: Made) -> None:
    """No TSC, no clocksource files: nothing invented."""
    made.tree.cpuinfo("fp asimd")
    collector = made.collector(replace(made.system(NANOSECONDS), sysfs=made.tree.sysfs))
    made.tree.clocksource("", "")
    result = series(collector, made.host)
    assert "tsc_feature" not in result
    assert "clocksource_info" not in result
    assert "module_parameter" not in result
    assert result["clock_offset_seconds"] == {(): -1.5e-6}


def test_not_a_host(made: Made) -> None:
    """Nothing is opened, and the reason is what the role was judged by."""
    role = Role(False, True, "CPUID says KVMKVMKVM")
    collector = made.collector(replace(made.system(), role=role))
    with pytest.raises(Unavailable, match=r"no KVM host \(CPUID says KVMKVMKVM\).*--role host"):
        collector.sample(made.host.cycle())


def test_drift_comes_after_ten_seconds(made: Made) -> None:
    """Absent until then; its window is told with it."""
    later = 0

    def read(clock: int) -> int:
        gained = 70_000 if later and clock == time.CLOCK_REALTIME else 0
        return time.clock_gettime_ns(clock) + later + gained

    system = replace(made.system(NANOSECONDS, NANOSECONDS), read_clock=read)
    collector = made.collector(system)
    assert "clock_drift_ratio" not in series(collector, made.host)
    later = 10_000_000_000
    result = series(collector, made.host)
    assert result["clock_drift_ratio"][("realtime",)] == pytest.approx(7e-6, abs=2e-6)
    assert result["clock_drift_ratio"][("monotonic",)] == pytest.approx(0, abs=2e-6)
    assert 10 <= result["clock_drift_window_seconds"][()] < 11


def test_this_system(host: Host) -> None:
    """The real sources, all at once, in a fraction of a second."""
    system = System(role=Role(True, False, "asked for"))
    collector = TimekeepingCollector(replace(host.sources(), procfs=Procfs(), system=system))
    begin = time.monotonic()
    try:
        result = series(collector, host)
    finally:
        collector.close()
    assert time.monotonic() - begin < 0.5
    assert sum(labels[1] == "current" for labels in result["clocksource_info"]) == 1
    assert result["clock_steps_total"] == {(): 0}
    assert set(result["clock_synchronized"].values()) <= {0, 1}
