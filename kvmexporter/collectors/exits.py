# SPDX-License-Identifier: Apache-2.0
"""Why vCPUs leave the guest, and how long the host takes to bring them back.

Reads the tracepoints kvm_exit, kvm_entry, kvm_userspace_exit, kvm_msr, kvm_hypercall,
kvm_inj_virq, kvm_inj_exception and kvm_vcpu_wakeup through the records that BPF keeps:
tens of nanoseconds an event, one batched read a scrape.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from kvmexporter.collector import PER_VCPU, Collector, Cycle
from kvmexporter.model.exits import VmExits, exits_by_reason, vm_exits
from kvmexporter.model.metrics import RARE_BELOW, Family, Kind, Metric, keyed
from kvmexporter.needs import COUNTING, COUNTING_WELL

_BUCKETS, _RARE = "exits.buckets", "exits.rare"

EXITS = Metric(
    "kvm_vm_exits_total",
    Kind.COUNTER,
    "Times that the VM's vCPUs left guest mode, by the processor's exit reason.",
    ("vm", "reason", "class"),
    "kvm:kvm_exit",
)
HANDLING = Metric(
    "kvm_vm_exit_handling_seconds",
    Kind.HISTOGRAM,
    "Time from an exit to the vCPU's next entry into the guest, or to the signal that takes "
    "it out of KVM. In class hlt the guest had nothing to do; elsewhere it was kept waiting.",
    ("vm", "class"),
    "kvm:kvm_exit, kvm:kvm_entry",
    buckets=_BUCKETS,
)
STALL = Metric(
    "kvm_vm_exit_stall_seconds",
    Kind.HISTOGRAM,
    "How long an exit kept the guest waiting: kvm_vm_exit_handling_seconds of all classes but "
    "hlt together.",
    ("vm",),
    "kvm:kvm_exit, kvm:kvm_entry",
)
USERSPACE_EXITS = Metric(
    "kvm_vm_userspace_exits_total",
    Kind.COUNTER,
    "Exits that KVM could not handle and passed to the VMM; restart: a signal ended KVM_RUN.",
    ("vm", "reason"),
    "kvm:kvm_userspace_exit",
)
MSR_ACCESSES = Metric(
    "kvm_vm_msr_accesses_total",
    Kind.COUNTER,
    "Accesses to model-specific registers that KVM had to emulate.",
    ("vm", "msr", "direction"),
    "kvm:kvm_msr",
    rare=_RARE,
)
HYPERCALLS = Metric(
    "kvm_vm_hypercalls_total",
    Kind.COUNTER,
    "Calls from the guest to KVM itself.",
    ("vm", "hypercall"),
    "kvm:kvm_hypercall",
)
INTERRUPTS = Metric(
    "kvm_vm_interrupts_injected_total",
    Kind.COUNTER,
    "Interrupts and exceptions that KVM injected into the guest in software; those that the "
    "processor delivers by itself (APICv, AVIC) are not seen.",
    ("vm", "kind"),
    "kvm:kvm_inj_virq, kvm:kvm_inj_exception",
)
HALT_SECONDS = Metric(
    "kvm_vm_halt_seconds",
    Kind.HISTOGRAM,
    "How long a vCPU with nothing to do waited for its next event, polling included.",
    ("vm",),
    "kvm:kvm_vcpu_wakeup",
    buckets=_BUCKETS,
)
HALT_POLLS = Metric(
    "kvm_vm_halt_polls_total",
    Kind.COUNTER,
    "Halts by how they ended: poll: while KVM polled for an event; wait: after the vCPU "
    "thread had gone to sleep; invalid: without an event for the vCPU.",
    ("vm", "outcome"),
    "kvm:kvm_vcpu_wakeup",
)
VCPU_EXITS = Metric(
    "kvm_vm_vcpu_exits_total",
    Kind.COUNTER,
    "As kvm_vm_exits_total, by vCPU.",
    ("vm", "vcpu", "reason", "class"),
    "kvm:kvm_exit",
    extra=PER_VCPU,
)


@dataclass(frozen=True, slots=True)
class ExitsSample:
    """The exits of one VM.

    Attributes:
        vm: its name.
        exits: of all its vCPUs.
        by_vcpu: vCPU number → (reason, class) → exits.
        rare_below: how many of a kind are no rarity with it.
    """

    vm: str
    exits: VmExits
    by_vcpu: dict[int, dict[tuple[str, str], int]] = field(default_factory=dict)
    rare_below: int = RARE_BELOW


class ExitsCollector(Collector[list[ExitsSample]]):
    """Exits by reason, and their handling."""

    name = "exits"
    summary = "why vCPUs leave the guest, and how long until they are back"
    metrics = (
        EXITS,
        HANDLING,
        STALL,
        USERSPACE_EXITS,
        MSR_ACCESSES,
        HYPERCALLS,
        INTERRUPTS,
        HALT_SECONDS,
        HALT_POLLS,
        VCPU_EXITS,
    )
    extras: ClassVar[Mapping[str, str]] = {
        "buckets": "Also serve the distributions of handling times by class, and of halts.",
        "rare": "Also serve registers that were accessed fewer than 1,000 times, or less than once "
        "in 100 seconds: what a guest sets up when it boots, mostly.",
        "per-vcpu": "Also count exits by vCPU: many more series.",
    }
    needs_bpf = True
    needs = COUNTING
    wants = COUNTING_WELL

    def sample(self, cycle: Cycle) -> list[ExitsSample]:
        """Name what BPF counted."""
        return [
            ExitsSample(
                vm.name,
                vm_exits(counted.isa, counted.counters),
                {
                    vcpu: exits_by_reason(counted.isa, counters)
                    for vcpu, counters in counted.by_vcpu.items()
                },
                cycle.rare_below(vm),
            )
            for vm, counted in cycle.counters()
        ]

    def families(self, sample: list[ExitsSample]) -> Iterable[Family]:
        """Counts that are not zero; every series appears with its first event."""
        result = {metric: Family(metric) for metric in self.metrics}
        for one in sample:
            vm, exits = one.vm, one.exits
            result[EXITS].group((vm,), exits.exits)
            result[HANDLING].group((vm,), keyed(exits.handling))
            if exits.stall.count:
                result[STALL].add(exits.stall, vm)
            result[USERSPACE_EXITS].group((vm,), keyed(exits.userspace))
            result[MSR_ACCESSES].group((vm,), exits.msrs, one.rare_below)
            result[HYPERCALLS].group((vm,), keyed(exits.hypercalls))
            result[INTERRUPTS].group((vm,), keyed(exits.interrupts))
            if exits.halt_time.count:
                result[HALT_SECONDS].add(exits.halt_time, vm)
            result[HALT_POLLS].group((vm,), keyed(exits.halts))
            for vcpu, by_reason in one.by_vcpu.items():
                result[VCPU_EXITS].group((vm, str(vcpu)), by_reason)
        return result.values()
