# SPDX-License-Identifier: Apache-2.0
"""Where the host's memory is: in VMs' processes, merged by KSM, in balloons, promised.

Reads a small file a VM, a second one where KSM has run, /proc/meminfo and KSM's files: 20 µs a VM
and 15 more (`sources/memory.py`). Where there are more than 128 VMs, they take turns.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from kvmexporter.collector import Collector, Cycle, Sources
from kvmexporter.errors import Unavailable
from kvmexporter.model import memory_findings
from kvmexporter.model.findings import Finding
from kvmexporter.model.memory import HostMemory, Ksm, ProcessMemory
from kvmexporter.model.metrics import Family, Kind, Metric, keyed
from kvmexporter.model.turns import Turns
from kvmexporter.model.vm import VmId
from kvmexporter.needs import HOST_ROLE, PID_NAMESPACE
from kvmexporter.sources.memory import Memory

PROCESS = Metric(
    "kvm_vm_process_memory_bytes",
    Kind.GAUGE,
    "Memory of the VM's process; anonymous, file and shared together are what is resident, "
    "swapped is on the host's disk, hugetlb is from the pool of huge pages and in none of the "
    "former.",
    ("vm", "kind"),
    "/proc/PID/status",
)
MERGED = Metric(
    "kvm_vm_ksm_merged_bytes",
    Kind.GAUGE,
    "Memory of the VM that KSM has merged with equal pages of this or other VMs; absent while "
    "KSM has never run.",
    ("vm",),
    "/proc/PID/ksm_stat",
)
TOTAL = Metric(
    "kvm_host_memory_bytes", Kind.GAUGE, "Memory that the host has.", (), "/proc/meminfo"
)
AVAILABLE = Metric(
    "kvm_host_memory_available_bytes",
    Kind.GAUGE,
    "Memory that the host can still give without swapping.",
    (),
    "/proc/meminfo",
)
PROMISED = Metric(
    "kvm_host_memory_promised_bytes",
    Kind.GAUGE,
    "Memory that the VMs can take at most, all together, of those whose VMM tells; more than "
    "kvm_host_memory_bytes is overcommitted.",
    (),
    "/proc/PID/cmdline, QMP query-memory-size-summary",
)
SAVED = Metric(
    "kvm_host_memory_saved_bytes",
    Kind.GAUGE,
    "Memory that VMs do not take from the host, by what keeps them from it: balloon: what the "
    "balloons hold; ksm: what merging saves, less its own records where the kernel tells them.",
    ("by",),
    "QMP query-balloon, /sys/kernel/mm/ksm",
)
KSM_RUNNING = Metric(
    "kvm_host_ksm_running",
    Kind.GAUGE,
    "Whether KSM looks for equal pages now.",
    (),
    "/sys/kernel/mm/ksm/run",
)
KSM_MEMORY = Metric(
    "kvm_host_ksm_memory_bytes",
    Kind.GAUGE,
    "Memory that KSM has looked at; shared: pages that others were merged into; sharing: those "
    "others, which take nothing any more; unshared: unique; volatile: changing too quickly.",
    ("state",),
    "/sys/kernel/mm/ksm",
)
KSM_SCANS = Metric(
    "kvm_host_ksm_full_scans_total",
    Kind.COUNTER,
    "Times that KSM has looked at all memory it may merge.",
    (),
    "/sys/kernel/mm/ksm/full_scans",
)


MOST_VMS = 128
"""VMs whose processes are read in a scrape; of more, those that were read longest ago."""


@dataclass(frozen=True, slots=True)
class MemorySample:
    """The host's memory at one moment.

    Attributes:
        host: what it has, and what it has promised.
        ksm: what is merged, None if the kernel cannot.
        vms: name → its process's memory.
    """

    host: HostMemory
    ksm: Ksm | None
    vms: dict[str, ProcessMemory]


class MemoryCollector(Collector[MemorySample]):
    """The host's memory, as VMs take it."""

    name = "memory"
    summary = "where the host's memory is: in VMs, swapped out, merged by KSM, in balloons"
    metrics = (
        PROCESS, MERGED, TOTAL, AVAILABLE, PROMISED, SAVED, KSM_RUNNING, KSM_MEMORY, KSM_SCANS,
    )  # fmt: skip
    needs = (HOST_ROLE, PID_NAMESPACE)

    def __init__(self, sources: Sources, most_vms: int = MOST_VMS) -> None:
        super().__init__(sources)
        self._turns: Turns[VmId] = Turns(most_vms)
        self._processes: dict[VmId, ProcessMemory | None] = {}
        self._memory = Memory(sources.procfs, sources.system.sysfs)

    def sample(self, cycle: Cycle) -> MemorySample:
        """Read the host's memory and that of every VM's process.

        Raises:
            Unavailable: this is no host, and no VM runs.
        """
        if not cycle.vms and not self.sources.system.role.host:
            raise Unavailable(
                f"this is no KVM host ({self.sources.system.role.because})",
                "say --role host or --role both if it is",
            )
        ksm = self._memory.ksm()
        due = self._turns.take(dict.fromkeys((vm.id for vm in cycle.vms), 1))
        self._processes = {vm.id: self._processes.get(vm.id) for vm in cycle.vms}
        promised = unknown = ballooned = 0
        vms = {}
        for vm in cycle.vms:
            balloon, _ = cycle.balloon(vm) or (None, 0.0)
            most = balloon.max_bytes if balloon else vm.memory_max_bytes
            promised += most or 0
            unknown += most is None
            ballooned += balloon.held_bytes if balloon else 0
            if vm.id in due:
                read = self._memory.process(vm.id.pid, merged=_has_merged(ksm))
                self._processes[vm.id] = read
            if process := self._processes[vm.id]:
                vms[vm.name] = process
        host = replace(self._memory.host(), promised=promised, unknown=unknown, ballooned=ballooned)
        return MemorySample(host, ksm, vms)

    def families(self, sample: MemorySample) -> Iterable[Family]:
        """One series of each; what the kernel does not tell is left out."""
        result = {metric: Family(metric) for metric in self.metrics}
        ksm, host = sample.ksm, sample.host
        for vm, process in sample.vms.items():
            result[PROCESS].group((vm,), keyed(process.kinds))
            if process.merged is not None:
                result[MERGED].add(process.merged, vm)
        if host.total:
            result[TOTAL].add(host.total)
            result[AVAILABLE].add(host.available)
        result[PROMISED].add(host.promised)
        result[SAVED].add(host.ballooned, "balloon")
        if ksm:
            result[SAVED].add(ksm.saved, "ksm")
            result[KSM_RUNNING].add(int(ksm.run == 1))
            result[KSM_SCANS].add(ksm.full_scans)
            for state, amount in (
                ("shared", ksm.shared),
                ("sharing", ksm.sharing),
                ("unshared", ksm.unshared),
                ("volatile", ksm.volatile),
            ):
                result[KSM_MEMORY].add(amount, state)
        return result.values()

    def findings(self, sample: MemorySample) -> Iterable[Finding]:
        """What is wrong with how memory is shared out."""
        yield from memory_findings.overcommitted(sample.host, sample.ksm)
        for vm, process in sample.vms.items():
            yield from memory_findings.swapped(vm, process)
        if sample.ksm:
            yield from memory_findings.ksm_without_profit(sample.ksm)


def _has_merged(ksm: Ksm | None) -> bool:
    """Whether KSM has ever looked at anything."""
    return ksm is not None and (ksm.run == 1 or ksm.full_scans > 0)
