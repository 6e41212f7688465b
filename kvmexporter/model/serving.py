# SPDX-License-Identifier: Apache-2.0
"""What of a metric is served to Prometheus, where a series has its price, and what only on demand.

By default a VM with five devices has at most 150 series. Other views show all that was sampled.
"""

from collections.abc import Collection

from kvmexporter.model.metrics import Family, Kind, Metric

UNSERVED = Metric(
    "kvm_vm_unserved_events",
    Kind.GAUGE,
    "Events that the named counter has no series for, because fewer than 1,000 of their kind have "
    "happened, or fewer than one in 100 seconds; with them its sum is that of all events.",
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
        family = family.chosen(
            lambda values: {key: value for key, value in values.items() if key[-1] in usual}
        )
    if metric.rare and metric.rare not in extras:
        family = family.frequent()
    return family


def note_unserved(unserved: Family, family: Family, extras: Collection[str]) -> None:
    """Add what is not served of a counter for being rare, so that its sums stay whole.

    Args:
        unserved: what is added to, of UNSERVED.
        family: the counter.
        extras: what was asked for, as `collector.extra`.
    """
    if family.metric.rare not in extras:
        for vm, events in family.rare.items():
            unserved.add(events, vm, family.metric.name)


def has_buckets(metric: Metric, extras: Collection[str]) -> bool:
    """Whether a histogram is served with its buckets; without, it is a sum and a count."""
    return not metric.buckets or metric.buckets in extras
