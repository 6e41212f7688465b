# SPDX-License-Identifier: Apache-2.0
"""Two snapshots compared: what happened in between, per second."""

from collections.abc import Mapping

from kvmexporter.model.histogram import Histogram
from kvmexporter.model.metrics import Kind, Value
from kvmexporter.sampler import Snapshot

Series = tuple[str, tuple[str, ...]]


def series(snapshot: Snapshot) -> Mapping[Series, Value]:
    """Every series of a snapshot: (metric name, label values) → value."""
    return {
        (family.metric.name, sample.labels): sample.value
        for family in snapshot.families
        for sample in family.samples
    }


def since(earlier: Snapshot, later: Snapshot) -> Mapping[Series, Value]:
    """How far each counter and histogram moved.

    A series that began meanwhile, or began again as a VM's does that was restarted under
    its name, began at zero.
    """
    before = series(earlier)
    result: dict[Series, Value] = {}
    for family in later.families:
        if family.metric.kind not in (Kind.COUNTER, Kind.HISTOGRAM):
            continue
        for sample in family.samples:
            key = (family.metric.name, sample.labels)
            old, new = before.get(key), sample.value
            if isinstance(new, Histogram):
                if isinstance(old, Histogram) and old.is_part_of(new):
                    result[key] = new.since(old)
                else:
                    result[key] = new
            else:
                result[key] = new - old if isinstance(old, int | float) and old <= new else new
    return result
