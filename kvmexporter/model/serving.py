# SPDX-License-Identifier: Apache-2.0
"""What of a metric is served to Prometheus, where a series has its price, and what only on demand.

By default a VM with five devices has at most 150 series. Other views show all that was sampled.
"""

from collections.abc import Collection, Iterable

from kvmexporter.model.histogram import Histogram
from kvmexporter.model.metrics import RARE_BELOW, Family, Kind, Metric, Value

UNSERVED = Metric(
    "kvm_vm_unserved_events",
    Kind.GAUGE,
    "Events that the named counter has no series for, because fewer than 1,000 of their kind have "
    "happened; with them its sum is that of all events.",
    ("vm", "metric"),
)


def served(family: Family, extras: Collection[str]) -> Family:
    """What of a family is served.

    Args:
        family: all of it.
        extras: what was asked for, as `collector.extra`.
    """
    metric = family.metric
    if metric.extra and metric.extra not in extras:
        usual = metric.usual
        family = family.chosen(lambda labels, _: labels[-1] in usual)
    if metric.rare and metric.rare not in extras:
        if metric.kind is Kind.HISTOGRAM:
            family = family.chosen(lambda _, value: _events(value) >= RARE_BELOW)
        else:
            family = family.chosen(lambda _, value: value >= RARE_BELOW)  # type: ignore[operator] # no histograms
    return family


def unserved(families: Iterable[Family], extras: Collection[str]) -> Family:
    """How much of each counter is not served for being rare, so that its sums stay whole."""
    result = Family(UNSERVED)
    for family in families:
        if family.metric.rare not in extras:
            for vm, events in family.rare.items():
                result.add(events, vm, family.metric.name)
    return result


def has_buckets(metric: Metric, extras: Collection[str]) -> bool:
    """Whether a histogram is served with its buckets; without, it is a sum and a count."""
    return not metric.buckets or metric.buckets in extras


def _events(value: Value) -> float:
    return value.count if isinstance(value, Histogram) else value
