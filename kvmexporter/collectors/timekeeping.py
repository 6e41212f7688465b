# SPDX-License-Identifier: Apache-2.0
"""The host's clocks: what they are made of, how far they can be trusted, what befell them.

Reads sysfs, the kernel's log, adjtimex(2), clock_gettime(2), and sleeps in a timerfd for
steps: about a millisecond a sample. What one of them cannot give is left out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kvmexporter.collector import Collector, Cycle, Sources
from kvmexporter.errors import Unavailable
from kvmexporter.model import clock_findings, own_clock
from kvmexporter.model.clocks import Drift, PtpDevice, Timex
from kvmexporter.model.findings import Finding
from kvmexporter.model.metrics import Family, Kind, Metric
from kvmexporter.model.own_clock import OwnClock, OwnClockMetrics
from kvmexporter.needs import ADJTIMEX, HOST_ROLE, KERNEL_LOG, STABLE_CLOCKSOURCE
from kvmexporter.sources.clocks import DriftWindow, read_clocks
from kvmexporter.sources.cpuid import tsc_hz
from kvmexporter.sources.ownclock import OwnClockReader
from kvmexporter.units import ns_to_seconds

# What decides over guests' clocks, timers and halts, by module; other parameters are
# not monitored.
_PARAMETERS = {
    "kvm": (
        "halt_poll_ns",
        "halt_poll_ns_grow",
        "halt_poll_ns_grow_start",
        "halt_poll_ns_shrink",
        "kvmclock_periodic_sync",
        "lapic_timer_advance",
        "lapic_timer_advance_ns",
        "min_timer_period_us",
        "pi_inject_timer",
        "tsc_tolerance_ppm",
    ),
    "kvm_intel": ("enable_apicv", "ept", "nested", "preemption_timer"),
    "kvm_amd": ("avic", "nested", "npt"),
}

CLOCKSOURCE = Metric(
    "kvm_host_clocksource_info",
    Kind.INFO,
    "The host's clocksources; state current: the one in use. Guests' kvm-clock is only as "
    "good as the host's tsc.",
    ("clocksource", "state"),
    "/sys/devices/system/clocksource",
)
CHANGES = Metric(
    "kvm_host_clocksource_changes_total",
    Kind.COUNTER,
    "Changes of the clocksource since the exporter started.",
    ("from", "to"),
    "/dev/kmsg, /sys/devices/system/clocksource",
)
WATCH = Metric(
    "kvm_host_clocksource_watch_info",
    Kind.INFO,
    "How changes of the clocksource are seen; sampling misses those undone between samples.",
    ("method",),
)
UNSTABLE = Metric(
    "kvm_host_clocksource_unstable_info",
    Kind.INFO,
    "A clocksource that the kernel gave up on, as far as its log goes back.",
    ("clocksource", "reason"),
    "/dev/kmsg",
)
TSC_FEATURE = Metric(
    "kvm_host_tsc_feature",
    Kind.GAUGE,
    "Whether the processor's time stamp counter can do this; invariant: constant and nonstop.",
    ("feature",),
    "/proc/cpuinfo",
)
TSC_FREQUENCY = Metric(
    "kvm_host_tsc_frequency_hertz",
    Kind.GAUGE,
    "The time stamp counter's frequency, where the kernel's log or the processor states it.",
    (),
    "/dev/kmsg, CPUID",
)
OFFSET = Metric(
    "kvm_host_clock_offset_seconds",
    Kind.GAUGE,
    "What the kernel still has to work off to reach the reference clock; positive: the "
    "host's clock is behind. Always 0 under chronyd and ntpd-rs, which slew the clock "
    "themselves: look at the error bounds there.",
    (),
    "adjtimex(2)",
)
ESTIMATED_ERROR = Metric(
    "kvm_host_clock_estimated_error_seconds",
    Kind.GAUGE,
    "How wrong the clock's daemon thinks the clock is.",
    (),
    "adjtimex(2)",
)
MAX_ERROR = Metric(
    "kvm_host_clock_max_error_seconds",
    Kind.GAUGE,
    "How wrong the clock can be at most; grows while nobody disciplines it.",
    (),
    "adjtimex(2)",
)
SYNCHRONIZED = Metric(
    "kvm_host_clock_synchronized",
    Kind.GAUGE,
    "Whether the kernel takes the clock for synchronised to a reference.",
    (),
    "adjtimex(2)",
)
FREQUENCY = Metric(
    "kvm_host_clock_frequency_adjustment_ratio",
    Kind.GAUGE,
    "How fast the clock is made to run, tick and frequency together; 1: left alone.",
    (),
    "adjtimex(2)",
)
TAI_OFFSET = Metric(
    "kvm_host_clock_tai_offset_seconds",
    Kind.GAUGE,
    "How far TAI is ahead of UTC, as the kernel was told; 0: it was not.",
    (),
    "adjtimex(2)",
)
REJECTED = Metric(
    "kvm_host_clock_rejected_readings_total",
    Kind.COUNTER,
    "Values of adjtimex that the kernel cannot have meant, such as an offset of 2^32 ns; "
    "they are left out.",
    (),
    "adjtimex(2)",
)
STEPS = Metric(
    "kvm_host_clock_steps_total",
    Kind.COUNTER,
    "Times that CLOCK_REALTIME was set, rather than slewed, since the exporter started.",
    (),
    "timerfd_create(2), TFD_TIMER_CANCEL_ON_SET",
)
STEP_SECONDS = Metric(
    "kvm_host_clock_step_seconds_total",
    Kind.COUNTER,
    "How far CLOCK_REALTIME was set, all steps together, by direction.",
    ("direction",),
    "timerfd_create(2), clock_gettime(2)",
)
DRIFT = Metric(
    "kvm_host_clock_drift_ratio",
    Kind.GAUGE,
    "How much faster than CLOCK_MONOTONIC_RAW a clock ran, over the window; 1e-6 is a "
    "microsecond a second. Steps show in realtime and not in monotonic.",
    ("clock",),
    "clock_gettime(2)",
)
DRIFT_WINDOW = Metric(
    "kvm_host_clock_drift_window_seconds",
    Kind.GAUGE,
    "The time over which drift was measured, at least ten seconds.",
    (),
    "clock_gettime(2)",
)
READ_SECONDS = Metric(
    "kvm_host_clock_read_seconds",
    Kind.GAUGE,
    "What one clock_gettime costs, about 70 ns of interpreter included; a microsecond and "
    "more: the clocksource cannot be read without the kernel.",
    (),
    "clock_gettime(2)",
)
PARAMETER = Metric(
    "kvm_host_module_parameter",
    Kind.GAUGE,
    "A parameter of a KVM module that decides over guests' clocks and halts, in its own "
    "unit; 1 is yes.",
    ("module", "parameter"),
    "/sys/module",
)
PTP = Metric(
    "kvm_host_ptp_device_info",
    Kind.INFO,
    "A PTP clock of this system.",
    ("device", "clock_name"),
    "/sys/class/ptp",
)


_OWN = OwnClockMetrics(
    CLOCKSOURCE, CHANGES, TSC_FEATURE, SYNCHRONIZED, MAX_ERROR, STEPS, STEP_SECONDS, READ_SECONDS
)


@dataclass(frozen=True, slots=True)
class TimekeepingSample:
    """The host's clocks at one moment; None or empty: not to be had.

    Attributes:
        clock: what every system has of them.
        tsc_hz: the counter's frequency.
        drift: of clock → against CLOCK_MONOTONIC_RAW.
        parameters: (module, parameter) → value.
        ptp_devices: PTP clocks.
    """

    clock: OwnClock
    tsc_hz: int | None
    drift: Drift | None
    parameters: Mapping[tuple[str, str], int]
    ptp_devices: tuple[PtpDevice, ...]


class TimekeepingCollector(Collector[TimekeepingSample]):
    """The host's clocks."""

    name = "timekeeping"
    summary = "the host's clocksource, TSC, clock discipline and steps"
    metrics = (
        CLOCKSOURCE, CHANGES, WATCH, UNSTABLE, TSC_FEATURE, TSC_FREQUENCY, OFFSET,
        ESTIMATED_ERROR, MAX_ERROR, SYNCHRONIZED, FREQUENCY, TAI_OFFSET, REJECTED, STEPS,
        STEP_SECONDS, DRIFT, DRIFT_WINDOW, READ_SECONDS, PARAMETER, PTP,
    )  # fmt: skip
    needs = (HOST_ROLE,)
    wants = (STABLE_CLOCKSOURCE, ADJTIMEX, KERNEL_LOG)

    def __init__(self, sources: Sources) -> None:
        super().__init__(sources)
        self._drift = DriftWindow()
        self._clock: OwnClockReader | None = None
        self._tsc_hz: int | None = None
        if not sources.system.role.host:
            return
        # Here and not in a sample: privileges may be given up in between.
        self._clock = OwnClockReader(sources.system, sources.procfs)
        self._tsc_hz = tsc_hz(sources.system.cpuid) if sources.system.cpuid else None

    def close(self) -> None:
        """End the watchers."""
        if self._clock:
            self._clock.close()

    def sample(self, cycle: Cycle) -> TimekeepingSample:  # noqa: ARG002 - nothing is shared
        """Read all clocks.

        Raises:
            Unavailable: this is not a host.
        """
        if self._clock is None:
            raise Unavailable(
                f"this is no KVM host ({self.sources.system.role.because})",
                "say --role host or --role both if it is",
            )
        sources = self.sources
        reading = read_clocks(sources.system.read_clock)
        return TimekeepingSample(
            clock=self._clock.sample(),
            tsc_hz=self._clock.tsc_hz or self._tsc_hz,
            drift=self._drift.observe(
                reading.monotonic_raw_ns,
                {"realtime": reading.realtime_ns, "monotonic": reading.monotonic_ns},
            ),
            parameters={
                (module, parameter): value
                for module, wanted in _PARAMETERS.items()
                for parameter, value in sources.system.sysfs.module_parameters(
                    module, wanted
                ).items()
            },
            ptp_devices=sources.system.sysfs.ptp_devices(),
        )

    def families(self, sample: TimekeepingSample) -> Iterable[Family]:
        """One series of each, and what the system does not tell left out."""
        result = {metric: Family(metric) for metric in self.metrics}
        own_clock.add(result, _OWN, sample.clock)
        history, timex = sample.clock.history, sample.clock.timex
        result[WATCH].add(1, history.watched_by)
        for name, reason in history.unstable.items():
            result[UNSTABLE].add(1, name, reason)
        if sample.tsc_hz is not None:
            result[TSC_FREQUENCY].add(sample.tsc_hz)
        if timex:
            _add_timex(result, timex)
        result[REJECTED].add(sample.clock.rejected)
        if sample.drift:
            for clock, ratio in sample.drift.ratios.items():
                result[DRIFT].add(ratio, clock)
            result[DRIFT_WINDOW].add(ns_to_seconds(sample.drift.window_ns))
        for (module, parameter), value in sample.parameters.items():
            result[PARAMETER].add(value, module, parameter)
        for device in sample.ptp_devices:
            result[PTP].add(1, device.device, device.clock_name)
        return result.values()

    def findings(self, sample: TimekeepingSample) -> Iterable[Finding]:
        """What should not be so on a host."""
        clock = sample.clock
        if clock.clocksources:
            yield from clock_findings.host_clocksource(
                clock.clocksources, clock.history, clock.tsc_features
            )
        yield from clock_findings.host_tsc(clock.tsc_features)
        if clock.timex:
            yield from clock_findings.synchronization(clock.timex, "host")
        if clock.steps:
            yield from clock_findings.stepped(clock.steps, "host")


def _add_timex(result: Mapping[Metric, Family], timex: Timex) -> None:
    for metric, ns in (
        (OFFSET, timex.offset_ns),
        (ESTIMATED_ERROR, timex.estimated_error_ns),
    ):
        if ns is not None:
            result[metric].add(ns_to_seconds(ns))
    result[FREQUENCY].add(timex.frequency_ratio)
    result[TAI_OFFSET].add(timex.tai_offset)
