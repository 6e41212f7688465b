# SPDX-License-Identifier: Apache-2.0
"""The clocks of a guest, from inside: what they run on, how far they are from the host's.

Reads sysfs, the kernel's log, CPUID, /proc/stat, /dev/ptpN and /dev/vmclockN, and sleeps
in a timerfd for steps: about a millisecond a sample. What one cannot give is left out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kvmexporter.collector import Collector, Cycle, Sources
from kvmexporter.errors import Unavailable
from kvmexporter.model import clock_findings, own_clock
from kvmexporter.model.findings import Finding
from kvmexporter.model.metrics import Family, Kind, Metric
from kvmexporter.model.own_clock import OwnClock, OwnClockMetrics
from kvmexporter.needs import ADJTIMEX, GUEST_ROLE, KERNEL_LOG, PTP_CLOCK, STABLE_CLOCKSOURCE
from kvmexporter.sources.hostclocks import HostClocks, HostClockSample
from kvmexporter.sources.ownclock import OwnClockReader
from kvmexporter.sources.procstat import steal_ns
from kvmexporter.units import ns_to_seconds

CLOCKSOURCE = Metric(
    "kvm_guest_clocksource_info",
    Kind.INFO,
    "This guest's clocksources; state current: the one in use.",
    ("clocksource", "state"),
    "/sys/devices/system/clocksource",
)
CHANGES = Metric(
    "kvm_guest_clocksource_changes_total",
    Kind.COUNTER,
    "Changes of this guest's clocksource since the exporter started.",
    ("from", "to"),
    "/dev/kmsg, /sys/devices/system/clocksource",
)
CLOCKEVENT = Metric(
    "kvm_guest_clockevent_info",
    Kind.INFO,
    "The timer of this guest's CPUs, one series if all have the same; lapic-deadline is the "
    "TSC-deadline timer.",
    ("clockevent",),
    "/sys/devices/system/clockevents",
)
FEATURE = Metric(
    "kvm_guest_paravirtual_feature",
    Kind.GAUGE,
    "Whether the host offers this guest a feature of KVM's, by the name that QEMU's -cpu has.",
    ("feature",),
    "CPUID",
)
TSC_FEATURE = Metric(
    "kvm_guest_tsc_feature",
    Kind.GAUGE,
    "Whether the time stamp counter that the guest sees can do this; invariant: constant "
    "and nonstop.",
    ("feature",),
    "/proc/cpuinfo",
)
OFFSET = Metric(
    "kvm_guest_clock_offset_seconds",
    Kind.GAUGE,
    "How far this guest's clock is ahead of its host's, by source.",
    ("source",),
    "/dev/ptpN",
)
UNCERTAINTY = Metric(
    "kvm_guest_clock_offset_uncertainty_seconds",
    Kind.GAUGE,
    "How wrong the offset from the host's clock can be, from the time that comparing took.",
    ("source",),
    "/dev/ptpN",
)
METHOD = Metric(
    "kvm_guest_clock_offset_method_info",
    Kind.INFO,
    "How this guest's clock is compared with its host's; precise: by one reading of one "
    "counter, else by a round trip.",
    ("source", "device", "method"),
    "/dev/ptpN",
)
DRIFT = Metric(
    "kvm_guest_clock_drift_ratio",
    Kind.GAUGE,
    "How much faster than its host's this guest's clock ran, over at least ten seconds; "
    "1e-6 is a microsecond a second. Steps of either show.",
    ("source",),
    "/dev/ptpN",
)
SYNCHRONIZED = Metric(
    "kvm_guest_clock_synchronized",
    Kind.GAUGE,
    "Whether the kernel takes this guest's clock for synchronised to a reference.",
    (),
    "adjtimex(2)",
)
MAX_ERROR = Metric(
    "kvm_guest_clock_max_error_seconds",
    Kind.GAUGE,
    "How wrong this guest's clock can be at most; grows while nobody disciplines it.",
    (),
    "adjtimex(2)",
)
STEPS = Metric(
    "kvm_guest_clock_steps_total",
    Kind.COUNTER,
    "Times that CLOCK_REALTIME was set, rather than slewed, since the exporter started.",
    (),
    "timerfd_create(2), TFD_TIMER_CANCEL_ON_SET",
)
STEP_SECONDS = Metric(
    "kvm_guest_clock_step_seconds_total",
    Kind.COUNTER,
    "How far CLOCK_REALTIME was set, all steps together, by direction.",
    ("direction",),
    "timerfd_create(2), clock_gettime(2)",
)
READ_SECONDS = Metric(
    "kvm_guest_clock_read_seconds",
    Kind.GAUGE,
    "What one clock_gettime costs in this guest, about 70 ns of interpreter included; a "
    "microsecond and more: each reading is a system call, or an exit to the host.",
    (),
    "clock_gettime(2)",
)
STEAL = Metric(
    "kvm_guest_steal_seconds_total",
    Kind.COUNTER,
    "Time that this guest's CPUs had work and the host ran something else, all CPUs.",
    (),
    "/proc/stat",
)
CPUS = Metric(
    "kvm_guest_cpus",
    Kind.GAUGE,
    "This guest's CPUs that are online.",
    (),
    "/sys/devices/system/cpu/online",
)
VMCLOCK = Metric(
    "kvm_guest_vmclock_info",
    Kind.INFO,
    "A VMClock device, and what the hypervisor says of its clock.",
    ("device", "status", "counter", "time_type"),
    "/dev/vmclockN",
)
VMCLOCK_DISRUPTIONS = Metric(
    "kvm_guest_vmclock_disruptions_total",
    Kind.COUNTER,
    "Times that the hypervisor disrupted this guest's counter, by a migration for example, "
    "since the exporter started; those between two samples count once.",
    ("device",),
    "/dev/vmclockN, disruption_marker",
)
VMCLOCK_WITHIN = Metric(
    "kvm_guest_vmclock_disruption_within_seconds",
    Kind.GAUGE,
    "How soon the hypervisor announces a disruption; absent while it announces none.",
    ("device",),
    "/dev/vmclockN, flags",
)
VMCLOCK_ESTIMATED = Metric(
    "kvm_guest_vmclock_estimated_error_seconds",
    Kind.GAUGE,
    "How wrong the hypervisor thinks its clock was when it last told the time.",
    ("device",),
    "/dev/vmclockN",
)
VMCLOCK_MAX = Metric(
    "kvm_guest_vmclock_max_error_seconds",
    Kind.GAUGE,
    "How wrong the hypervisor's clock can have been at most when it last told the time.",
    ("device",),
    "/dev/vmclockN",
)


_OWN = OwnClockMetrics(
    CLOCKSOURCE, CHANGES, TSC_FEATURE, SYNCHRONIZED, MAX_ERROR, STEPS, STEP_SECONDS, READ_SECONDS
)


@dataclass(frozen=True, slots=True)
class GuestClockSample:
    """A guest's clocks at one moment; None or empty: not to be had.

    Attributes:
        clock: what every system has of them.
        clockevents: CPU → its clock event device.
        features: KVM's paravirtual features → whether.
        host_clocks: what the hypervisor's clocks say.
        steal_ns: stolen time.
        cpus: how many are online.
    """

    clock: OwnClock
    clockevents: Mapping[int, str]
    features: Mapping[str, bool]
    host_clocks: HostClockSample
    steal_ns: int | None
    cpus: int | None


class GuestClockCollector(Collector[GuestClockSample]):
    """The clocks of this system as a guest."""

    name = "guest_clock"
    summary = "inside a guest: its clocksource, timer, offset from the host, steal time"
    metrics = (
        CLOCKSOURCE, CHANGES, CLOCKEVENT, FEATURE, TSC_FEATURE, OFFSET, UNCERTAINTY, METHOD,
        DRIFT, SYNCHRONIZED, MAX_ERROR, STEPS, STEP_SECONDS, READ_SECONDS, STEAL, CPUS,
        VMCLOCK, VMCLOCK_DISRUPTIONS, VMCLOCK_WITHIN, VMCLOCK_ESTIMATED, VMCLOCK_MAX,
    )  # fmt: skip
    needs = (GUEST_ROLE,)
    wants = (PTP_CLOCK, STABLE_CLOCKSOURCE, ADJTIMEX, KERNEL_LOG)

    def __init__(self, sources: Sources) -> None:
        super().__init__(sources)
        self._clock: OwnClockReader | None = None
        self._host_clocks: HostClocks | None = None
        if not sources.system.role.guest:
            return
        # Here and not in a sample: privileges may be given up in between.
        self._clock = OwnClockReader(sources.system, sources.procfs)
        self._host_clocks = HostClocks(
            sources.system.sysfs, sources.system.devices, sources.system.open_ptp
        )

    def close(self) -> None:
        """End the watchers, close the devices."""
        for owned in (self._clock, self._host_clocks):
            if owned:
                owned.close()

    def sample(self, cycle: Cycle) -> GuestClockSample:  # noqa: ARG002 - nothing is shared
        """Read all clocks.

        Raises:
            Unavailable: this is not a guest.
        """
        if self._clock is None or self._host_clocks is None:
            raise Unavailable(
                f"this is no KVM guest ({self.sources.system.role.because})",
                "say --role guest or --role both if it is",
            )
        sources = self.sources
        return GuestClockSample(
            clock=self._clock.sample(),
            clockevents=sources.system.sysfs.clockevents(),
            features=dict(sources.system.role.features),
            host_clocks=self._host_clocks.sample(),
            steal_ns=steal_ns(sources.procfs.root, sources.procfs.ticks_per_second),
            cpus=sources.system.sysfs.cpus_online(),
        )

    def families(self, sample: GuestClockSample) -> Iterable[Family]:
        """One series of each, and what the system does not tell left out."""
        result = {metric: Family(metric) for metric in self.metrics}
        own_clock.add(result, _OWN, sample.clock)
        for device in dict.fromkeys(sample.clockevents.values()):
            result[CLOCKEVENT].add(1, device)
        for feature, has in sample.features.items():
            result[FEATURE].add(int(has), feature)
        if sample.steal_ns is not None:
            result[STEAL].add(ns_to_seconds(sample.steal_ns))
        if sample.cpus is not None:
            result[CPUS].add(sample.cpus)
        _add_host_clocks(result, sample.host_clocks)
        return result.values()

    def findings(self, sample: GuestClockSample) -> Iterable[Finding]:
        """What should not be so in a guest."""
        own = sample.clock
        if own.clocksources:
            yield from clock_findings.guest_clocksource(own.clocksources, sample.features)
        yield from clock_findings.guest_clockevents(sample.clockevents)
        # Where this is a host too, the same clock was judged as the host's already.
        if not self.sources.system.role.host:
            if own.timex:
                yield from clock_findings.synchronization(own.timex, "guest")
            if own.steps:
                yield from clock_findings.stepped(own.steps, "guest")
        clocks = sample.host_clocks
        for (source, _), offset in clocks.offsets.items():
            yield from clock_findings.guest_offset(source, offset)
        if not clocks.offsets:
            yield from clock_findings.guest_without_host_clock(clocks.problems)
        for name, clock in clocks.vmclocks.items():
            yield from clock_findings.vmclock_status(name, clock.status)


def _add_host_clocks(result: Mapping[Metric, Family], clocks: HostClockSample) -> None:
    for (source, device), offset in clocks.offsets.items():
        result[OFFSET].add(-ns_to_seconds(offset.offset_ns), source)
        result[UNCERTAINTY].add(ns_to_seconds(offset.uncertainty_ns), source)
        result[METHOD].add(1, source, device, offset.method)
    for source, drift in clocks.drifts.items():
        result[DRIFT].add(drift.ratios[source], source)
    for name, clock in clocks.vmclocks.items():
        result[VMCLOCK].add(1, name, clock.status, clock.counter, clock.time_type)
        result[VMCLOCK_DISRUPTIONS].add(clocks.disruptions[name], name)
        if clock.disruption_within_seconds is not None:
            result[VMCLOCK_WITHIN].add(clock.disruption_within_seconds, name)
        for metric, ns in (
            (VMCLOCK_ESTIMATED, clock.estimated_error_ns),
            (VMCLOCK_MAX, clock.max_error_ns),
        ):
            if ns is not None:
                result[metric].add(ns_to_seconds(ns), name)
