# SPDX-License-Identifier: Apache-2.0
"""VMs' timers and clocks as metrics, from records in BPF to series."""

import pytest

from kvmexporter.bpf.request import HISTOGRAM_BUCKETS
from kvmexporter.collector import Cycle
from kvmexporter.collectors.vm_clock import VmClockCollector
from kvmexporter.errors import Unavailable
from kvmexporter.model.histogram import Histogram
from tests.unit.clock_records import write_clock, write_offset
from tests.unit.host import Host, without_bpf
from tests.unit.procfs_tree import ProcfsTree

QEMU = "/usr/bin/qemu-system-x86_64"
TSC_HZ = 2_000_000_000


def series(host: Host) -> dict[tuple[str, ...], object]:
    """(metric, labels...) → value."""
    return {
        (family.metric.name, *sample.labels): sample.value
        for family in host.snapshot(VmClockCollector).families
        if family.metric in VmClockCollector.metrics
        for sample in family.samples
    }


def rules(host: Host) -> list[str]:
    return [finding.rule for finding in host.snapshot(VmClockCollector).findings]


def test_without_bpf(tree: ProcfsTree) -> None:
    """The collector has nothing to read and says why."""
    sources = without_bpf(tree)
    with pytest.raises(Unavailable, match="no bcc in this test"):
        VmClockCollector(sources).sample(Cycle(sources))


def test_a_vm_that_has_done_nothing(host: Host) -> None:
    """No event, no series."""
    host.tree.process(10, [QEMU, "-name", "web"])
    host.vcpu(1001, 10)
    assert series(host) == {}
    assert rules(host) == []


def test_timers(host: Host) -> None:
    """Each array of the record becomes its metric."""
    host.tree.process(10, [QEMU, "-name", "web"])
    host.vcpu(
        1001,
        10,
        timer_arms={0: 2, 1: 3},
        hv_timer={1: 7},
        timer_early={0: 11},
        timer_early_ns={0: 13_000},
        timer_lateness={0: 11, 4: 17, HISTOGRAM_BUCKETS: 19_000},
    )
    assert series(host) == {
        ("kvm_vm_tsc_deadline_arms_total", "web"): 2,
        ("kvm_vm_apic_timer_arms_total", "web"): 3,
        ("kvm_vm_hv_timer_switches_total", "web", "software"): 7,
        ("kvm_vm_timer_lateness_seconds", "web"): Histogram(
            (11, 0, 0, 0, 17) + (0,) * (HISTOGRAM_BUCKETS - 5), 19_000
        ),
        ("kvm_vm_timer_early_total", "web"): 11,
        ("kvm_vm_timer_early_seconds_total", "web"): 13e-6,
    }


def test_clocks(host: Host) -> None:
    """What KVM makes of each VM's clock, and the advice on it."""
    host.tree.process(10, [QEMU, "-name", "web"])
    host.tree.process(11, [QEMU, "-name", "db"])
    host.vcpu(1101, 11, exits={1: 1})
    write_clock(
        host.clocks, 10, master_clock=2, host_clock=2, master_clock_changes=1, pvclock_updates=5
    )
    write_clock(host.clocks, 11, master_clock=1, host_clock=1, master_clock_changes=2)
    for vcpu, (web, db) in enumerate([(-17, 5), (-17, 5 - TSC_HZ // 2)]):
        write_offset(host.offsets, 10, vcpu, web)
        write_offset(host.offsets, 11, vcpu, db, writes=3)
    assert series(host) == {
        ("kvm_vm_master_clock_enabled", "web"): 1,
        ("kvm_vm_master_clock_info", "web", "tsc"): 1,
        ("kvm_vm_master_clock_changes_total", "web"): 1,
        ("kvm_vm_pvclock_updates_total", "web"): 5,
        ("kvm_vm_tsc_offset_writes_total", "web"): 2,
        ("kvm_vm_tsc_offset_spread_seconds", "web"): 0.0,
        ("kvm_vm_master_clock_enabled", "db"): 0,
        ("kvm_vm_master_clock_info", "db", "none"): 1,
        ("kvm_vm_master_clock_changes_total", "db"): 2,
        ("kvm_vm_tsc_offset_writes_total", "db"): 6,
        ("kvm_vm_tsc_offset_spread_seconds", "db"): 0.5,
    }
    assert rules(host) == ["vm-master-clock-off", "vm-tsc-offsets-differ"]


def test_the_first_change_is_an_increase(host: Host) -> None:
    """The count is there, as zero, as soon as the master clock's state is known."""
    host.tree.process(10, [QEMU, "-name", "web"])
    host.vcpu(1001, 10, exits={1: 1})
    changes = ("kvm_vm_master_clock_changes_total", "web")
    write_clock(host.clocks, 10, master_clock=0)
    assert changes not in series(host)
    write_clock(host.clocks, 10, master_clock=1)
    assert series(host)[changes] == 0
    write_clock(host.clocks, 10, master_clock=2, master_clock_changes=1)
    assert series(host)[changes] == 1


def test_a_vm_that_never_ran(host: Host) -> None:
    """KVM tells of no master clock when it makes the VM, and decides when a vCPU runs."""
    host.tree.process(10, [QEMU, "-S", "-name", "web"])
    host.vcpu(1001, 10)
    write_clock(host.clocks, 10, master_clock=1, host_clock=2)
    write_offset(host.offsets, 10, 0, -17)
    assert series(host) == {
        ("kvm_vm_master_clock_info", "web", "tsc"): 1,
        ("kvm_vm_tsc_offset_writes_total", "web"): 1,
        ("kvm_vm_tsc_offset_spread_seconds", "web"): 0.0,
    }
    assert rules(host) == []
    host.vcpu(1001, 10, exits={1: 1})
    assert series(host)["kvm_vm_master_clock_enabled", "web"] == 0
    assert rules(host) == ["vm-master-clock-off"]


def test_spread_without_a_frequency(host: Host) -> None:
    """Cycles that nobody can convert are not shown as seconds."""
    host.tsc_hz = None
    host.tree.process(10, [QEMU, "-name", "web"])
    write_offset(host.offsets, 10, 0, 17)
    assert series(host) == {("kvm_vm_tsc_offset_writes_total", "web"): 1}
