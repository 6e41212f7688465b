# SPDX-License-Identifier: Apache-2.0
"""Each VM's timers and clock, as KVM keeps them.

Reads the tracepoints kvm_msr, kvm_apic, kvm_wait_lapic_expire and kvm_hv_timer_state through the
records of vCPUs, kvm_update_master_clock, kvm_track_tsc, kvm_write_tsc_offset and
kvm_pvclock_update through maps of their own: two more batched reads a scrape.
"""

from collections.abc import Iterable
from typing import NamedTuple

from kvmexporter.collector import Collector, Cycle, Sources
from kvmexporter.errors import Unavailable
from kvmexporter.model import vm_clock_findings
from kvmexporter.model.findings import Finding
from kvmexporter.model.metrics import Family, Kind, Metric
from kvmexporter.model.vm_clocks import MasterClock, VmTimers, vm_timers
from kvmexporter.needs import COUNTING, COUNTING_WELL
from kvmexporter.sources.masterclock import MasterClockReader
from kvmexporter.units import ns_to_seconds

DEADLINE_ARMS = Metric(
    "kvm_vm_tsc_deadline_arms_total",
    Kind.COUNTER,
    "Times that the guest armed a timer with a TSC deadline, the way that takes one exit.",
    ("vm",),
    "kvm:kvm_msr",
)
COUNT_ARMS = Metric(
    "kvm_vm_apic_timer_arms_total",
    Kind.COUNTER,
    "Times that the guest armed a local APIC's timer by its count, one-shot or periodic, rather "
    "than with a deadline.",
    ("vm",),
    "kvm:kvm_apic",
)
HV_TIMER = Metric(
    "kvm_vm_hv_timer_switches_total",
    Kind.COUNTER,
    "Times that KVM decided what runs a guest's timer: hardware: the processor's preemption "
    "timer; software: a timer of the host kernel's, which interrupts the guest.",
    ("vm", "state"),
    "kvm:kvm_hv_timer_state",
)
LATENESS = Metric(
    "kvm_vm_timer_lateness_seconds",
    Kind.HISTOGRAM,
    "How long after its deadline the guest is told of a timer; 0 for those that KVM served early "
    "and waited for, kvm_vm_timer_early_total of them. Only while KVM advances timers "
    "(lapic_timer_advance).",
    ("vm",),
    "kvm:kvm_wait_lapic_expire",
)
EARLY = Metric(
    "kvm_vm_timer_early_total",
    Kind.COUNTER,
    "Timers that KVM served before their deadline, as it means to; the vCPU then spins until it.",
    ("vm",),
    "kvm:kvm_wait_lapic_expire",
)
EARLY_SECONDS = Metric(
    "kvm_vm_timer_early_seconds_total",
    Kind.COUNTER,
    "How long before their deadlines those timers were served, added up.",
    ("vm",),
    "kvm:kvm_wait_lapic_expire",
)
MASTER_CLOCK = Metric(
    "kvm_vm_master_clock_enabled",
    Kind.GAUGE,
    "Whether KVM computes all vCPUs' kvm-clock from one reading; if not, the guest has to "
    "reconcile them whenever it reads its clock. Absent until something tells, and until the VM "
    "has run.",
    ("vm",),
    "kvm:kvm_update_master_clock, kvm:kvm_track_tsc, kvm:kvm_pvclock_update",
)
MASTER_CLOCK_INFO = Metric(
    "kvm_vm_master_clock_info",
    Kind.INFO,
    "What the host's own clock was read from when KVM decided on the VM's master clock; "
    "anything but tsc and hvclock forbids one.",
    ("vm", "host_clock"),
    "kvm:kvm_update_master_clock, kvm:kvm_track_tsc",
)
MASTER_CLOCK_CHANGES = Metric(
    "kvm_vm_master_clock_changes_total",
    Kind.COUNTER,
    "Times that KVM turned the VM's master clock on or off; once when the VM starts is normal.",
    ("vm",),
    "kvm:kvm_update_master_clock",
)
OFFSET_WRITES = Metric(
    "kvm_vm_tsc_offset_writes_total",
    Kind.COUNTER,
    "Times that what KVM adds to the TSC was set: once for each new vCPU, then when the guest "
    "or its VMM writes the TSC.",
    ("vm",),
    "kvm:kvm_write_tsc_offset",
)
OFFSET_SPREAD = Metric(
    "kvm_vm_tsc_offset_spread_seconds",
    Kind.GAUGE,
    "How far apart the TSC offsets of the VM's vCPUs are at most; 0: the guest's TSCs agree as "
    "well as the host's do.",
    ("vm",),
    "kvm:kvm_write_tsc_offset",
)
PVCLOCK_UPDATES = Metric(
    "kvm_vm_pvclock_updates_total",
    Kind.COUNTER,
    "Times that KVM wrote a vCPU's kvm-clock: every five minutes, and each time that a vCPU "
    "changes its processor while there is no master clock.",
    ("vm",),
    "kvm:kvm_pvclock_update",
)


_NOTHING_KNOWN = MasterClock()


class VmClockSample(NamedTuple):
    """One VM's timers and clock; offset_spread_seconds: None if not known."""

    vm: str
    timers: VmTimers | None
    clock: MasterClock
    offset_spread_seconds: float | None


class VmClockCollector(Collector[list[VmClockSample]]):
    """Timers and clocks of VMs."""

    name = "vm_clock"
    summary = "each VM's timers, TSC offsets and kvm-clock, as KVM keeps them"
    metrics = (
        DEADLINE_ARMS, COUNT_ARMS, HV_TIMER, LATENESS, EARLY, EARLY_SECONDS, MASTER_CLOCK,
        MASTER_CLOCK_INFO, MASTER_CLOCK_CHANGES, OFFSET_WRITES, OFFSET_SPREAD, PVCLOCK_UPDATES,
    )  # fmt: skip
    needs_bpf = True
    needs = COUNTING
    wants = COUNTING_WELL

    def __init__(self, sources: Sources) -> None:
        super().__init__(sources)
        self._clocks: MasterClockReader | None = None
        if not isinstance(sources.probes, Unavailable):
            maps = sources.probes.maps
            self._clocks = MasterClockReader(maps["vm_clocks"], maps["tsc_offsets"])

    def sample(self, cycle: Cycle) -> list[VmClockSample]:
        """Name what BPF counted.

        Raises:
            Unavailable: BPF is not to be had.
        """
        counters = {vm.id: counted.counters for vm, counted in cycle.counters()}
        clocks = self._clocks.read(vm.id for vm in cycle.vms) if self._clocks else {}
        hz = self.sources.system.tsc_hz
        samples = []
        for vm in cycle.vms:
            counted, clock = counters.get(vm.id), clocks.get(vm.id, _NOTHING_KNOWN)
            # KVM decides when a vCPU first runs: until then there is none, whatever it will be.
            if clock.enabled is False and (counted is None or counted.is_zero):
                clock = clock._replace(enabled=None)
            if counted is not None or clock is not _NOTHING_KNOWN:
                cycles = clock.offset_spread
                spread = None if cycles is None or not hz else cycles / hz
                timers = None if counted is None else vm_timers(counted)
                samples.append(VmClockSample(vm.name, timers, clock, spread))
        return samples

    def families(self, sample: list[VmClockSample]) -> Iterable[Family]:
        """Counts that are not zero, and of the clock what is known.

        Changes of the master clock begin at zero: a series that is born with its first change
        shows none to `increase`.
        """
        result = {metric: Family(metric) for metric in self.metrics}
        for vm, timers, clock, spread in sample:
            if timers:
                for state, count in (("hardware", timers.hardware), ("software", timers.software)):
                    if count:
                        result[HV_TIMER].add(count, vm, state)
                if timers.deadline_arms:
                    result[DEADLINE_ARMS].add(timers.deadline_arms, vm)
                if timers.count_arms:
                    result[COUNT_ARMS].add(timers.count_arms, vm)
                if timers.lateness.count:
                    result[LATENESS].add(timers.lateness, vm)
                    result[EARLY].add(timers.early, vm)
                    result[EARLY_SECONDS].add(ns_to_seconds(timers.early_ns), vm)
            if clock.offset_writes:
                result[OFFSET_WRITES].add(clock.offset_writes, vm)
            if clock.pvclock_updates:
                result[PVCLOCK_UPDATES].add(clock.pvclock_updates, vm)
            if clock.enabled is not None:
                result[MASTER_CLOCK].add(int(clock.enabled), vm)
                result[MASTER_CLOCK_CHANGES].add(clock.changes, vm)
            if clock.host_clock:
                result[MASTER_CLOCK_INFO].add(1, vm, clock.host_clock)
            if spread is not None:
                result[OFFSET_SPREAD].add(spread, vm)
        return result.values()

    def findings(self, sample: list[VmClockSample]) -> Iterable[Finding]:
        """A VM without a master clock, or whose vCPUs disagree."""
        for one in sample:
            yield from vm_clock_findings.master_clock(one.vm, one.clock)
            if one.offset_spread_seconds is not None:
                yield from vm_clock_findings.offset_spread(one.vm, one.offset_spread_seconds)
