# SPDX-License-Identifier: Apache-2.0
"""What every system has of clocks, as series of whoever's metrics."""

from dataclasses import replace

from kvmexporter.model import own_clock
from kvmexporter.model.clocks import ClocksourceHistory, Clocksources, Steps
from kvmexporter.model.metrics import Family, Kind, Metric
from kvmexporter.model.own_clock import OwnClock, OwnClockMetrics

METRICS = OwnClockMetrics(
    Metric("kvm_test_clocksource_info", Kind.INFO, "Test.", ("clocksource", "state")),
    Metric("kvm_test_changes_total", Kind.COUNTER, "Test.", ("from", "to")),
    Metric("kvm_test_feature", Kind.GAUGE, "Test.", ("feature",)),
    Metric("kvm_test_synchronized", Kind.GAUGE, "Test."),
    Metric("kvm_test_max_error_seconds", Kind.GAUGE, "Test."),
    Metric("kvm_test_steps_total", Kind.COUNTER, "Test."),
    Metric("kvm_test_step_seconds_total", Kind.COUNTER, "Test.", ("direction",)),
    Metric("kvm_test_read_seconds", Kind.GAUGE, "Test."),
)
NOTHING = OwnClock(None, ClocksourceHistory({}, {}, ""), {}, None, 0, None, 70.0)


def series(clock: OwnClock) -> dict[str, dict[tuple[str, ...], object]]:
    """Metric → labels → value, those without series left out."""
    names = OwnClockMetrics.__dataclass_fields__
    result = {metric: Family(metric) for metric in (getattr(METRICS, name) for name in names)}
    own_clock.add(result, METRICS, clock)
    return {
        family.metric.name.removeprefix("kvm_test_"): {one.labels: one.value for one in samples}
        for family in result.values()
        if (samples := family.samples)
    }


def test_what_is_not_told_is_left_out() -> None:
    """Only what a reading costs can always be had."""
    assert series(NOTHING) == {"read_seconds": {(): 7e-8}}


def test_everything() -> None:
    """In base units; the clocksource in use among those available."""
    clock = replace(
        NOTHING,
        clocksources=Clocksources("hpet", ("tsc", "hpet")),
        history=ClocksourceHistory({("tsc", "hpet"): 7}, {}, ""),
        tsc_features={"constant": True, "reliable": False},
        steps=Steps(3, 5_000_000_000, 2_000_000_000, -2_000_000_000),
    )
    assert series(clock) == {
        "clocksource_info": {("tsc", "available"): 1, ("hpet", "current"): 1},
        "changes_total": {("tsc", "hpet"): 7},
        "feature": {("constant",): 1, ("reliable",): 0},
        "steps_total": {(): 3},
        "step_seconds_total": {("forward",): 5.0, ("backward",): 2.0},
        "read_seconds": {(): 7e-8},
    }
