# SPDX-License-Identifier: Apache-2.0
"""The VMs as metrics."""

import os

from kvmexporter.collector import Cycle
from kvmexporter.collectors.vms import (
    INFO,
    MEMORY_MAX,
    RESIDENT,
    VCPUS,
    VmSample,
    VmsCollector,
)
from kvmexporter.model.metrics import Sample
from kvmexporter.model.vm import Vm, VmId
from tests.unit.host import Host
from tests.unit.procfs_tree import NO_REAL_PID


def series(host: Host, *samples: VmSample) -> dict[str, list[Sample]]:
    families = VmsCollector(host.sources()).families(list(samples))
    return {family.metric.name: family.samples for family in families}


def test_no_vm(host: Host) -> None:
    """No VM, no series."""
    assert VmsCollector(host.sources()).sample(host.cycle()) == []
    assert not any(series(host).values())


def test_everything_known(host: Host) -> None:
    """One series of each."""
    vm = Vm(VmId(1, 10), "web", "qemu", "qemu", "uuid-1", "7.2", "q35", "host", 4, 2 << 30)
    assert series(host, VmSample(vm, 12345)) == {
        INFO.name: [
            Sample(("web", "uuid-1", "10", "qemu", "7.2", "q35", "host", "qemu"), 1),
        ],
        VCPUS.name: [Sample(("web",), 4)],
        MEMORY_MAX.name: [Sample(("web",), 2 << 30)],
        RESIDENT.name: [Sample(("web",), 12345)],
    }


def test_what_is_not_known_is_left_out(host: Host) -> None:
    """Nothing unknown is shown as zero; zero is."""
    vm = Vm(VmId(1, 10), "pid-10", "firecracker", "pid")
    shown = series(host, VmSample(vm, None))
    assert shown[INFO.name] == [Sample(("pid-10", "", "10", "firecracker", "", "", "", "pid"), 1)]
    assert not shown[VCPUS.name] + shown[MEMORY_MAX.name] + shown[RESIDENT.name]
    none_yet = Vm(VmId(1, 10), "pid-10", "firecracker", "pid", vcpus=0)
    assert series(host, VmSample(none_yet, None))[VCPUS.name] == [Sample(("pid-10",), 0)]


def test_resident_memory_is_that_of_each_sampling(host: Host) -> None:
    """As it is when a sampling begins; of a process that ends meanwhile it stays that."""
    page = os.sysconf("SC_PAGESIZE")
    host.tree.process(NO_REAL_PID, ["kvmtool"])
    sources = host.sources()
    for pages in (1009, 1013):
        host.tree.process(NO_REAL_PID, ["kvmtool"], resident_pages=pages)
        cycle = Cycle(sources)
        host.tree.end(NO_REAL_PID)
        (sample,) = VmsCollector(sources).sample(cycle)
        assert (sample.vm.id.pid, sample.resident_bytes) == (NO_REAL_PID, pages * page)
