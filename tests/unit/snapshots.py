# SPDX-License-Identifier: Apache-2.0
"""Snapshots for the views, made by hand."""

from collections.abc import Sequence

from kvmexporter.bpf.request import HISTOGRAM_BUCKETS
from kvmexporter.model.findings import Finding
from kvmexporter.model.histogram import Histogram
from kvmexporter.model.metrics import Family, Kind, Metric, Value
from kvmexporter.model.vm import Vm, VmId
from kvmexporter.sampler import CollectorStatus, Snapshot, State

COUNTER = Metric("kvm_vm_test_total", Kind.COUNTER, "Tests run.", ("vm", "reason"))
GAUGE = Metric("kvm_vm_test_bytes", Kind.GAUGE, "Bytes tested.", ("vm",))
INFO = Metric("kvm_vm_test_info", Kind.INFO, "What is tested.", ("vm", "version"))
HISTOGRAM = Metric("kvm_vm_test_seconds", Kind.HISTOGRAM, "Time that tests took.", ("vm",))

HOSTILE_NAMES = (
    "plain",
    'quo"ted',
    "back\\slash",
    "ends in a backslash\\",
    "<script>alert(1)</script>",
    "&amp; <b>",
    '{label="x"} 1\\n',
    "comma, semicolon; equals=",
    "Größe 名前 🐧",
    " spaces ",
    "two\nlines",
    "\x1b[31mred\x07\0",
    "\u202eright-to-left\u2028",
    "x" * 10_000,
    "",
)


def family(metric: Metric, values: dict[tuple[str, ...], Value]) -> Family:
    """A metric's samples; values: labels → value."""
    result = Family(metric)
    for labels, value in values.items():
        result.add(value, *labels)
    return result


def histogram(counts: dict[int, int], sum_ns: int) -> Histogram:
    """A distribution; counts: bucket → observations."""
    return Histogram(tuple(counts.get(k, 0) for k in range(HISTOGRAM_BUCKETS)), sum_ns)


def vm(name: str, pid: int = 10) -> Vm:
    """A VM called so."""
    return Vm(VmId(pid, pid), name, "qemu", "qemu", vcpus=2)


def snapshot(
    *families: Family,
    vms: Sequence[Vm] = (),
    monotonic: float = 100.0,
    statuses: Sequence[CollectorStatus] = (),
    findings: Sequence[Finding] = (),
) -> Snapshot:
    """Everything at one moment."""
    return Snapshot(1.7e9, monotonic, tuple(vms), tuple(families), tuple(statuses), tuple(findings))


def status(name: str, state: State = State.OK, detail: str = "") -> CollectorStatus:
    """How a collector fared."""
    return CollectorStatus(name, f"what {name} gives", state, detail, 0.25)
