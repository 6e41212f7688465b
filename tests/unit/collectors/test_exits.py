# SPDX-License-Identifier: Apache-2.0
"""Exits as metrics, from records in BPF to series."""

import pytest

from kvmexporter.bpf.request import HISTOGRAM_BUCKETS
from kvmexporter.collector import PER_VCPU, Cycle
from kvmexporter.collectors.exits import ExitsCollector
from kvmexporter.errors import Unavailable
from kvmexporter.model.histogram import Histogram
from kvmexporter.tables.exit_reasons import EXIT_CLASSES, Isa, exit_slot
from tests.unit.host import Host, without_bpf
from tests.unit.procfs_tree import ProcfsTree

QEMU = "/usr/bin/qemu-system-x86_64"
WORDS = HISTOGRAM_BUCKETS + 1
HLT = exit_slot(Isa.VMX, 12)
IO = exit_slot(Isa.VMX, 30)


def series(host: Host) -> dict[tuple[str, ...], object]:
    """(metric, labels...) → value."""
    return {
        (family.metric.name, *sample.labels): sample.value
        for family in host.snapshot(ExitsCollector).families
        if family.metric in ExitsCollector.metrics
        for sample in family.samples
    }


def test_without_bpf(tree: ProcfsTree) -> None:
    """The collector has nothing to read and says why."""
    sources = without_bpf(tree)
    with pytest.raises(Unavailable, match="no bcc in this test"):
        ExitsCollector(sources).sample(Cycle(sources))


def test_a_vm_that_has_done_nothing(host: Host) -> None:
    """No event, no series."""
    host.tree.process(10, [QEMU, "-name", "web"])
    assert series(host) == {}
    host.vcpu(1001, 10)
    assert series(host) == {}


def test_every_kind_of_event(host: Host) -> None:
    """Each array of the record becomes its metric, and no other's."""
    host.tree.process(10, [QEMU, "-name", "web"])
    handling = EXIT_CLASSES.index("io") * WORDS
    host.vcpu(
        1001,
        10,
        exits={HLT: 2, IO: 3},
        handling={handling + 4: 5, handling + WORDS - 1: 70_000},
        userspace_exits={2: 7},
        userspace_restarts={0: 11},
        userspace_errors={0: 13},
        msrs={1: 17},
        hypercalls={5: 19},
        interrupts={0: 23},
        halts={1: 29},
        halt_time={6: 31, WORDS - 1: 3_100_000},
    )
    assert series(host) == {
        ("kvm_vm_exits_total", "web", "HLT", "hlt"): 2,
        ("kvm_vm_exits_total", "web", "IO_INSTRUCTION", "io"): 3,
        ("kvm_vm_exit_handling_seconds", "web", "io"): Histogram(
            (0,) * 4 + (5,) + (0,) * 19, 70_000
        ),
        ("kvm_vm_exit_stall_seconds", "web"): Histogram((0,) * 4 + (5,) + (0,) * 19, 70_000),
        ("kvm_vm_userspace_exits_total", "web", "IO"): 7,
        ("kvm_vm_userspace_exits_total", "web", "restart"): 11,
        ("kvm_vm_userspace_exits_total", "web", "error"): 13,
        ("kvm_vm_msr_accesses_total", "web", "tsc_deadline", "write"): 17,
        ("kvm_vm_hypercalls_total", "web", "kick_cpu"): 19,
        ("kvm_vm_interrupts_injected_total", "web", "external"): 23,
        ("kvm_vm_halt_polls_total", "web", "wait"): 29,
        ("kvm_vm_halt_seconds", "web"): Histogram((0,) * 6 + (31,) + (0,) * 17, 3_100_000),
    }


def test_what_keeps_a_guest_waiting(host: Host) -> None:
    """All classes together but hlt: there the guest has nothing to do."""
    host.tree.process(10, [QEMU, "-name", "web"])
    io, msr, hlt = (EXIT_CLASSES.index(name) * WORDS for name in ("io", "msr", "hlt"))
    sums = {io + WORDS - 1: 101, msr + WORDS - 1: 10_007, hlt + WORDS - 1: 1_000_003}
    host.vcpu(1001, 10, handling={io + 2: 3, io + 5: 5, msr + 5: 7, hlt + 20: 11, **sums})
    shown = series(host)
    assert shown["kvm_vm_exit_stall_seconds", "web"] == Histogram(
        (0, 0, 3, 0, 0, 12) + (0,) * 18, 10_108
    )
    host.tree.process(11, [QEMU, "-name", "idle"])
    host.vcpu(1101, 11, handling={hlt + 20: 11, hlt + WORDS - 1: 1_000_003})
    assert ("kvm_vm_exit_stall_seconds", "idle") not in series(host)


def test_vms_are_told_apart(host: Host) -> None:
    """Each has its own exits, on its own processor."""
    host.tree.process(10, [QEMU, "-name", "web"])
    host.tree.process(11, [QEMU, "-name", "db"])
    host.vcpu(1001, 10, exits={HLT: 2})
    host.vcpu(1002, 10, exits={HLT: 3})
    host.vcpu(1101, 11, isa=Isa.SVM, exits={exit_slot(Isa.SVM, 0x78): 5})
    assert series(host) == {
        ("kvm_vm_exits_total", "web", "HLT", "hlt"): 5,
        ("kvm_vm_exits_total", "db", "hlt", "hlt"): 5,
    }


def test_per_vcpu(host: Host) -> None:
    """Only on request; the VM's sum stays."""
    host.extras = frozenset({PER_VCPU})
    host.tree.process(10, [QEMU, "-name", "web"])
    host.vcpu(1001, 10, vcpu_id=0, exits={HLT: 2})
    host.vcpu(1002, 10, vcpu_id=1, exits={HLT: 3, IO: 5})
    assert series(host) == {
        ("kvm_vm_exits_total", "web", "HLT", "hlt"): 5,
        ("kvm_vm_exits_total", "web", "IO_INSTRUCTION", "io"): 5,
        ("kvm_vm_vcpu_exits_total", "web", "0", "HLT", "hlt"): 2,
        ("kvm_vm_vcpu_exits_total", "web", "1", "HLT", "hlt"): 3,
        ("kvm_vm_vcpu_exits_total", "web", "1", "IO_INSTRUCTION", "io"): 5,
    }
