# SPDX-License-Identifier: Apache-2.0
"""A snapshot as one JSON document.

    {"format": 1, "time": seconds since the epoch, "seconds": between two samples or null,
     "version": ..., "vms": [...], "collectors": [...], "findings": [worst first],
     "unknown_addresses": [...], "metrics": [{"name", "type", "help", "samples":
     [{"labels": {...}, "value": number | {"count", "sum", "buckets": [[le, count]]},
       "per_second": number}]}]}

`per_second` is there for counters when two snapshots were taken. docs/dump.schema.json
describes it whole; a change that old readers would stumble over raises `format`.
"""

import dataclasses
import json
from collections.abc import Mapping

from kvmexporter import __version__
from kvmexporter.model.histogram import Histogram
from kvmexporter.model.metrics import Family, Sample, Value
from kvmexporter.model.vm import Vm
from kvmexporter.sampler import Snapshot
from kvmexporter.units import ns_to_seconds
from kvmexporter.views.rates import Series, since
from kvmexporter.views.report import worst_first

FORMAT = 1


def render(snapshot: Snapshot, earlier: Snapshot | None = None) -> str:
    """The document, with rates since an earlier snapshot if one is given."""
    moved = since(earlier, snapshot) if earlier else {}
    seconds = snapshot.monotonic - earlier.monotonic if earlier else 0.0
    document = {
        "format": FORMAT,
        "time": snapshot.time,
        "seconds": seconds or None,
        "version": __version__,
        "vms": [_vm(vm) for vm in snapshot.vms],
        "collectors": [dataclasses.asdict(status) for status in snapshot.statuses],
        "findings": [dataclasses.asdict(finding) for finding in worst_first(snapshot.findings)],
        "unknown_addresses": [dataclasses.asdict(one) for one in snapshot.unknown_addresses],
        "metrics": [_family(family, moved, seconds) for family in snapshot.families],
    }
    return json.dumps(document, indent=2, allow_nan=False)


def _vm(vm: Vm) -> dict[str, object]:
    return {
        "name": vm.name,
        "vmm": vm.vmm,
        "pid": vm.id.pid,
        "identified_by": vm.identified_by,
        "uuid": vm.uuid,
        "version": vm.version,
        "machine": vm.machine,
        "cpu_model": vm.cpu_model,
        "vcpus": vm.vcpus,
        "memory_max_bytes": vm.memory_max_bytes,
    }


def _family(family: Family, moved: Mapping[Series, Value], seconds: float) -> dict[str, object]:
    return {
        "name": family.metric.name,
        "type": family.metric.kind,
        "help": family.metric.help,
        "samples": [_sample(family, sample, moved, seconds) for sample in family.samples],
    }


def _sample(
    family: Family, sample: Sample, moved: Mapping[Series, Value], seconds: float
) -> dict[str, object]:
    labels = dict(zip(family.metric.labels, sample.labels, strict=True))
    result: dict[str, object] = {"labels": labels, "value": _value(sample.value)}
    change = moved.get((family.metric.name, sample.labels))
    if isinstance(change, int | float):
        result["per_second"] = change / seconds
    return result


def _value(value: Value) -> object:
    if not isinstance(value, Histogram):
        return value
    buckets = [
        ["+Inf" if bound == float("inf") else bound, count]
        for bound, count in value.shown_buckets()
    ]
    return {"count": value.count, "sum": ns_to_seconds(value.sum_ns), "buckets": buckets}
