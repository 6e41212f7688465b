# SPDX-License-Identifier: Apache-2.0
"""The VMs as metrics."""

import os

import psutil
import pytest

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
from kvmexporter.sources.procfs import Procfs
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


def test_resident_memory_is_the_process_s(host: Host) -> None:
    """Of a real process: this one."""
    pid = os.getpid()
    ticks = Procfs().start_ticks(pid)
    assert ticks
    host.tree.process(pid, ["kvmtool"], start_ticks=ticks)
    resident = psutil.Process(pid).memory_info().rss
    host.tree.process(pid, ["kvmtool"], resident_pages=resident // os.sysconf("SC_PAGESIZE"))
    (sample,) = VmsCollector(host.sources()).sample(host.cycle())
    assert sample.resident_bytes == pytest.approx(resident, rel=0.1)


def test_a_process_that_has_just_ended(host: Host) -> None:
    """Its memory is not known any more; that is no error."""
    host.tree.process(NO_REAL_PID, ["kvmtool"])
    (host.tree.root / str(NO_REAL_PID) / "statm").unlink()
    (sample,) = VmsCollector(host.sources()).sample(host.cycle())
    assert (sample.vm.id.pid, sample.resident_bytes) == (NO_REAL_PID, None)


def test_resident_memory_is_read_from_the_procfs_it_was_given(host: Host) -> None:
    """Roots are arguments."""
    host.tree.process(NO_REAL_PID, ["kvmtool"], resident_pages=1009)
    (sample,) = VmsCollector(host.sources()).sample(host.cycle())
    assert sample.resident_bytes == 1009 * os.sysconf("SC_PAGESIZE")
