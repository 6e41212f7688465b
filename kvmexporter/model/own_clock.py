# SPDX-License-Identifier: Apache-2.0
"""What every system has of clocks, be it host or guest: the same readings, the same series."""

from collections.abc import Mapping
from dataclasses import dataclass

from kvmexporter.model.clocks import ClocksourceHistory, Clocksources, Steps, Timex
from kvmexporter.model.metrics import Family, Metric
from kvmexporter.units import ns_to_seconds


@dataclass(frozen=True, slots=True)
class OwnClock:
    """A system's clocks at one moment; None: not to be had.

    Attributes:
        clocksources: the current and the available ones.
        history: what became of them.
        tsc_features: feature → whether.
        timex: how the clock is disciplined.
        rejected: readings of that which were left out so far.
        steps: of CLOCK_REALTIME.
        read_ns: the cost of a clock_gettime.
    """

    clocksources: Clocksources | None
    history: ClocksourceHistory
    tsc_features: Mapping[str, bool]
    timex: Timex | None
    rejected: int
    steps: Steps | None
    read_ns: float


@dataclass(frozen=True, slots=True)
class OwnClockMetrics:
    """The metrics that tell it, of a host's or of a guest's.

    Attributes:
        clocksource: by name and state.
        changes: of the clocksource, from one to another.
        tsc_feature: by feature.
        synchronized: whether the clock is.
        max_error: of the clock.
        steps: their number.
        step_seconds: how far they went, by direction.
        read_seconds: the cost of a reading.
    """

    clocksource: Metric
    changes: Metric
    tsc_feature: Metric
    synchronized: Metric
    max_error: Metric
    steps: Metric
    step_seconds: Metric
    read_seconds: Metric


def add(result: Mapping[Metric, Family], metrics: OwnClockMetrics, clock: OwnClock) -> None:
    """Add one series of each; what the system does not tell is left out.

    Args:
        result: the family of each metric.
        metrics: which they are.
        clock: what was read.
    """
    if clock.clocksources:
        current = clock.clocksources.current
        for name in clock.clocksources.available:
            state = "current" if name == current else "available"
            result[metrics.clocksource].add(1, name, state)
    for (before, after), count in clock.history.changes.items():
        result[metrics.changes].add(count, before, after)
    for feature, has in clock.tsc_features.items():
        result[metrics.tsc_feature].add(int(has), feature)
    if clock.timex:
        result[metrics.synchronized].add(int(clock.timex.synchronized))
        if clock.timex.max_error_ns is not None:
            result[metrics.max_error].add(ns_to_seconds(clock.timex.max_error_ns))
    if clock.steps:
        result[metrics.steps].add(clock.steps.count)
        result[metrics.step_seconds].add(ns_to_seconds(clock.steps.forward_ns), "forward")
        result[metrics.step_seconds].add(ns_to_seconds(clock.steps.backward_ns), "backward")
    result[metrics.read_seconds].add(ns_to_seconds(clock.read_ns))
