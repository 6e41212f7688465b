# SPDX-License-Identifier: Apache-2.0
"""I/O as metrics, from records in BPF to series."""

import pytest

from kvmexporter.bpf.request import HISTOGRAM_BUCKETS
from kvmexporter.collector import Cycle
from kvmexporter.collectors.io import IoCollector, IoSample
from kvmexporter.errors import Unavailable
from kvmexporter.model.histogram import Histogram
from kvmexporter.model.io import DevicePath, VmIo
from tests.unit.host import Host, without_bpf
from tests.unit.procfs_tree import ProcfsTree

QEMU = "/usr/bin/qemu-system-x86_64"
UNKNOWN = ("unknown", "unknown", "unknown")


def series(host: Host) -> dict[tuple[str, ...], object]:
    """(metric, labels...) → value."""
    return {
        (family.metric.name, *sample.labels): sample.value
        for family in host.snapshot(IoCollector).families
        if family.metric in IoCollector.metrics
        for sample in family.samples
    }


def test_without_bpf(tree: ProcfsTree) -> None:
    """The collector has nothing to read and says why."""
    sources = without_bpf(tree)
    with pytest.raises(Unavailable, match="no bcc in this test"):
        IoCollector(sources).sample(Cycle(sources))


def test_a_vm_that_has_done_nothing(host: Host) -> None:
    """No event, no series."""
    host.tree.process(10, [QEMU, "-name", "web"])
    host.vcpu(1001, 10)
    assert series(host) == {}


def test_accesses_of_a_vm_that_nobody_has_asked_about(host: Host) -> None:
    """They are all there, for a device that is not known."""
    host.tree.process(10, [QEMU, "-name", "web"])
    host.tree.process(11, [QEMU, "-name", "db"], start_ticks=2000)
    host.vcpu(1001, 10, io={1: 2, 3: 3, 8: 5}, io_handling={3: 7, HISTOGRAM_BUCKETS: 9000})
    host.vcpu(1101, 11, io={6: 11})
    host.extras = frozenset({"io.rare"})
    assert series(host) == {
        ("kvm_vm_io_exits_total", "web", *UNKNOWN, "pio", "read", "userspace"): 2,
        ("kvm_vm_io_exits_total", "web", *UNKNOWN, "pio", "write", "userspace"): 3,
        ("kvm_vm_io_exits_total", "web", *UNKNOWN, "fast_mmio", "write", "kernel"): 5,
        ("kvm_vm_io_handling_seconds", "web", "unknown", "unknown"): Histogram(
            tuple(7 if bucket == 3 else 0 for bucket in range(HISTOGRAM_BUCKETS)), 9000
        ),
        ("kvm_vm_io_exits_total", "db", *UNKNOWN, "mmio", "write", "kernel"): 11,
    }


def test_times_are_told_of_every_device(host: Host) -> None:
    """Of those that nobody chose, too: whoever looks for what is slow wants to see all."""
    took = Histogram((0, 0, 0, 7, *[0] * 20), 9000)
    paths = ("emulated", "virtio", "vhost", "passthrough", "platform", "irqchip", "unknown")
    handling = {DevicePath(f"a-{path}", path): took for path in paths}
    sample = [IoSample("web", VmIo({}, handling), {})]
    families = IoCollector(host.sources()).families(sample)
    told = {one.labels: one.value for family in families for one in family.samples}
    assert told == {("web", f"a-{path}", path): took for path in paths}
