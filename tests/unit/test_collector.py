# SPDX-License-Identifier: Apache-2.0
"""What collectors share: the sources and the one reading of a cycle."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from kvmexporter.collector import PER_VCPU, Cycle, Sources
from kvmexporter.errors import KvmExporterError, Unavailable
from kvmexporter.model.metrics import RARE_BELOW
from kvmexporter.model.vm import VmId
from kvmexporter.sources.bpfmaps import BpfMap
from kvmexporter.units import NS_PER_SECOND
from tests.unit.addressed import Vms
from tests.unit.host import NO_BPF, Host, without_bpf
from tests.unit.procfs_tree import ProcfsTree
from tests.unit.vcpu_records import no_kernel_maps, vcpus_layout

QEMU = "/usr/bin/qemu-system-x86_64"
_NO_MAPS = no_kernel_maps()


def test_without_bpf(tree: ProcfsTree) -> None:
    """The VMs are known all the same; who asks for counters is told why there are none."""
    tree.process(10, [QEMU, "-name", "web"])
    sources = without_bpf(tree)
    cycle = Cycle(sources)
    assert [vm.name for vm in cycle.vms] == ["web"]
    with pytest.raises(Unavailable) as caught:
        cycle.counters()
    assert caught.value is NO_BPF
    with pytest.raises(Unavailable):
        sources.attached()


def test_counters_of_each_vm(host: Host) -> None:
    """VMs in order, those without a record left out, those met first in BPF found."""
    host.tree.process(10, [QEMU, "-name", "old"], start_ticks=100)
    host.tree.process(11, [QEMU, "-name", "idle"], start_ticks=200)
    sources = host.sources()
    host.tree.process(12, [QEMU, "-name", "new"], start_ticks=300)
    host.vcpu(1201, 12, exits={1: 3})
    host.vcpu(1001, 10, exits={1: 2})
    cycle = Cycle(sources, host.monotonic)
    assert [vm.name for vm in cycle.vms] == ["old", "idle", "new"]
    counted = [(vm.name, one.counters["exits"][1]) for vm, one in cycle.counters()]
    assert counted == [("old", 2), ("new", 3)]
    assert cycle.time == host.monotonic.now
    assert sources.attached() is sources.probes


def test_the_version_is_what_the_monitor_said(tree: ProcfsTree, tmp_path: Path) -> None:
    """Of a VM that has been visited; the other's is not known."""
    with Vms(tree, tmp_path) as vms:
        vms.add(10)
        vms.process(11)
        addressing = vms.start()
        addressing.settle(10.0)
        cycle = Cycle(Sources(tree.procfs, vms.inventory, NO_BPF, None, addressing))
        assert [(vm.name, vm.version) for vm in cycle.vms] == [("vm10", "10.0.13"), ("vm11", "")]


def test_by_vcpu_only_when_asked_for(host: Host) -> None:
    """It costs series."""
    host.tree.process(10, [QEMU, "-name", "web"])
    host.vcpu(1001, 10, vcpu_id=3, exits={1: 2})
    ((_, counted),) = host.cycle().counters()
    assert counted.by_vcpu == {}
    host.extras = frozenset({PER_VCPU})
    ((_, counted),) = host.cycle().counters()
    assert list(counted.by_vcpu) == [3]


@pytest.mark.skipif(bool(_NO_MAPS), reason=_NO_MAPS or "bpf(2) works")
def test_maps_that_cannot_be_read(host: Host) -> None:
    """The VMs are known all the same; who asks for counters gets the error."""
    host.tree.process(10, [QEMU, "-name", "web"])
    with BpfMap("vcpus", os.open("/dev/null", os.O_RDONLY), vcpus_layout()) as no_map:
        host.vcpus = no_map
        cycle = host.cycle()
    assert [vm.name for vm in cycle.vms] == ["web"]
    with pytest.raises(KvmExporterError, match="BPF map vcpus: Invalid argument"):
        cycle.counters()


def test_how_many_are_no_rarity(host: Host) -> None:
    """By the time since the VM began, or since there was somebody to count."""
    host.tree.process(10, [QEMU, "-name", "web"], start_ticks=0)
    (vm,) = host.sources().inventory.vms()
    now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    for seconds, least in ((60, 1000), (100_000, 1000), (1_000_000, 10_000)):
        sources = replace(host.sources(), counting_since_ns=now - seconds * NS_PER_SECOND)
        begun = replace(vm, id=VmId(sources.counting_since_ns - NS_PER_SECOND, 10))
        assert Cycle(sources).rare_below(begun) == least
        young = replace(vm, id=VmId(now, 10))
        assert Cycle(sources).rare_below(young) == RARE_BELOW
