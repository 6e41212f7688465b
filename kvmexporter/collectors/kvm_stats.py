# SPDX-License-Identifier: Apache-2.0
"""KVM's own counters of each VM, those that an operator can make something of.

Reads what the VMM said last (QMP `query-stats`, QEMU 7.1 and newer: lockdown or not, at no
cost to a scrape), else debugfs: 28 small files a VM.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from kvmexporter.collector import Collector, Cycle, Sources
from kvmexporter.errors import Unavailable
from kvmexporter.model.growing import Growing
from kvmexporter.model.metrics import Family, Kind, Metric, keyed
from kvmexporter.model.vm import Vm, VmId
from kvmexporter.needs import DEBUGFS, LOCKDOWN, PID_NAMESPACE, QMP
from kvmexporter.sources.qemu import QemuFacts
from kvmexporter.sources.schedstat import Schedstat
from kvmexporter.units import ns_to_seconds

# What no other metric tells, and exits, for where there is no BPF; then what other metrics tell
# better, and seldom wanted ones. arch/x86/include/asm/kvm_host.h and include/linux/kvm_types.h,
# Linux 6.12. All only grow.
_USUAL = frozenset(
    {
        "exits", "pf_taken", "pf_fixed", "tlb_flush", "halt_attempted_poll",
        "halt_successful_poll", "nested_run", "insn_emulation", "insn_emulation_fail",
    }
)  # fmt: skip
_NAMES = _USUAL | {
    "io_exits", "mmio_exits", "halt_exits", "irq_exits", "signal_exits", "request_irq_exits",
    "remote_tlb_flush", "remote_tlb_flush_requests", "preemption_other", "preemption_reported",
    "pf_emulate", "pf_spurious", "pf_fast", "pf_mmio_spte_created", "pf_guest", "halt_wakeup",
    "directed_yield_attempted", "directed_yield_successful",
}  # fmt: skip
_FAILED_POLLS = "halt_poll_fail_ns"
_READ = _NAMES | {_FAILED_POLLS}

STATS = Metric(
    "kvm_vm_kvm_stat_total",
    Kind.COUNTER,
    "KVM's own counters of the VM, vCPUs added up, by KVM's names for them; those that are zero "
    "are left out. Where the VMM is asked for them they can be as old as its last answer, a "
    "minute and more.",
    ("vm", "stat"),
    "QMP query-stats, debugfs kvm/",
    extra="kvm_stats.all",
    usual=_USUAL,
)
FAILED_POLLS = Metric(
    "kvm_vm_halt_poll_fail_seconds_total",
    Kind.COUNTER,
    "CPU time for which KVM polled for events of halted vCPUs that did not come, vCPUs added up. "
    "As old as kvm_vm_kvm_stat_total.",
    ("vm",),
    "QMP query-stats, debugfs kvm/",
)


@dataclass(slots=True)
class _Followed:
    """What one VM's counters have come to, and the VMM's answer that they were told by last."""

    growing: Growing = field(default_factory=Growing)
    answer: Mapping[str, int] | None = None


@dataclass(frozen=True, slots=True)
class KvmStatsSample:
    """One VM's counters, by name."""

    vm: str
    stats: Mapping[str, int]


class KvmStatsCollector(Collector[list[KvmStatsSample]]):
    """KVM's own counters."""

    name = "kvm_stats"
    summary = "what KVM itself counts of each VM: page faults, TLB flushes, halts, emulation"
    metrics = (STATS, FAILED_POLLS)
    extras: ClassVar[Mapping[str, str]] = {
        "all": "Also serve KVM's counters of what other collectors tell better, and seldom wanted "
        "ones.",
    }
    needs = (PID_NAMESPACE,)
    wants = (QMP, DEBUGFS, LOCKDOWN)

    def __init__(self, sources: Sources) -> None:
        super().__init__(sources)
        self._debugfs = sources.debugfs
        self._threads = Schedstat(sources.procfs.root)
        self._followed: dict[VmId, _Followed] = {}

    def sample(self, cycle: Cycle) -> list[KvmStatsSample]:
        """Take each VM's counters from whoever has them.

        Raises:
            Unavailable: nobody has any VM's.
        """
        self._followed = {vm.id: self._followed.get(vm.id) or _Followed() for vm in cycle.vms}
        directories: Mapping[int, Sequence[str]] | None = None
        unasked = 0
        samples = []
        for vm in cycle.vms:
            known, followed = cycle.addressing.get(vm.id), self._followed[vm.id]
            facts = known.facts if known else None
            if facts is None or facts.stats is not followed.answer:
                followed.answer = None
                if facts and (told := _told(facts)):
                    followed.answer = facts.stats
                else:
                    unasked += bool(vm.qmp_sockets) and not (known and (facts or known.trouble))
                    directories = self._debugfs.vms() if directories is None else directories
                    told = self._debugfs.stats(self._of(vm, directories), _READ)
                followed.growing.follow(told)
            if grown := followed.growing.shown:
                samples.append(KvmStatsSample(vm.name, grown))
        if cycle.vms and not samples and not unasked:
            raise Unavailable(
                f"no VMM tells KVM's counters, and {self._debugfs.root}/kvm shows none",
                "give QEMU 7.1 or newer a QMP socket for the exporter, or mount debugfs and start "
                "as root on a kernel that is not locked down",
            )
        return samples

    def _of(self, vm: Vm, directories: Mapping[int, Sequence[str]]) -> list[str]:
        """The VM's directories: any of its threads may have created it."""
        if not directories:
            return []
        threads = {vm.id.pid, *self._threads.tids(vm.id.pid)}
        return [name for thread in threads for name in directories.get(thread, ())]

    def families(self, sample: list[KvmStatsSample]) -> Iterable[Family]:
        """Those that are not zero, and the time of polls even then."""
        stats, failed_polls = Family(STATS), Family(FAILED_POLLS)
        for one in sample:
            told = {name: one.stats[name] for name in sorted(one.stats) if one.stats[name]}
            told.pop(_FAILED_POLLS, None)
            stats.group((one.vm,), keyed(told))
            if (ns := one.stats.get(_FAILED_POLLS)) is not None:
                failed_polls.add(ns_to_seconds(ns), one.vm)
        return stats, failed_polls


def _told(facts: QemuFacts) -> dict[str, int]:
    """What the VMM said last, empty if nothing."""
    return {
        name: facts.stats.get(name, 0) + facts.vcpu_stats.get(name, 0)
        for name in _READ & (facts.stats.keys() | facts.vcpu_stats.keys())
    }
