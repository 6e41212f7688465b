# SPDX-License-Identifier: Apache-2.0
"""What KVM and the VMM say of a VM's timers and clocks.

Source: arch/x86/kvm/trace.h, include/vdso/clocksource.h, arch/x86/include/asm/vdso/clocksource.h
(Linux 6.1 to 7.2); hw/rtc/mc146818rtc.c (QEMU 7.2 to 11.1).
"""

import calendar
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from kvmexporter.model.counters import Counters
from kvmexporter.model.histogram import Histogram, from_words
from kvmexporter.units import NS_PER_SECOND

# enum vdso_clock_mode: what the host reads its own time from without the kernel.
_CLOCK_MODES = ("none", "tsc", "pvclock", "hvclock")
_COUNTER_BITS = 64

# struct tm counts years from here; QEMU's clock has four digits for them.
_TM_YEAR_BASE = 1900
_LAST_YEAR = 9999
_HALF_SECOND_NS = NS_PER_SECOND // 2


class VmTimers(NamedTuple):
    """The local APICs' timers of one VM since counting began.

    Attributes:
        deadline_arms: times that the guest armed one with a TSC deadline.
        count_arms: times that it did so with a count of bus cycles.
        hardware: times that KVM left a timer to the processor's preemption timer.
        software: times that it took one of the kernel's timers.
        early: timers that KVM served before their time, waiting for it then.
        early_ns: how much too early, added up.
        lateness: how late each timer was; 0 for those that were early.
    """

    deadline_arms: int
    count_arms: int
    hardware: int
    software: int
    early: int
    early_ns: int
    lateness: Histogram


def vm_timers(counters: Counters) -> VmTimers:
    """Name the counters of one VM; the order is that of the C's enumerations."""
    deadline_arms, count_arms = counters["timer_arms"]
    hardware, software = counters["hv_timer"]
    return VmTimers(
        deadline_arms,
        count_arms,
        hardware,
        software,
        counters["timer_early"][0],
        counters["timer_early_ns"][0],
        from_words(counters["timer_lateness"]),
    )


class MasterClock(NamedTuple):
    """What KVM made of one VM's clock since counting began.

    Attributes:
        enabled: whether all vCPUs' kvm-clock is computed from one pair of readings; None if
            nothing has told yet.
        host_clock: what the host's own clock is read from, "" if nothing has told.
        changes: times that it was turned on or off.
        pvclock_updates: times that KVM wrote a vCPU's kvm-clock page.
        offset_writes: times that what is added to the TSC was set, for any vCPU.
        offset_spread: cycles between the vCPUs' offsets at most; None if none was seen.
    """

    enabled: bool | None = None
    host_clock: str = ""
    changes: int = 0
    pvclock_updates: int = 0
    offset_writes: int = 0
    offset_spread: int | None = None


def clock_mode_name(mode: int) -> str:
    """The name of a `vdso_clock_mode`; unknown ones stay visible."""
    return _CLOCK_MODES[mode] if mode < len(_CLOCK_MODES) else f"unknown:{mode}"


def offset_spread(offsets: Iterable[int]) -> int | None:
    """How far apart offsets lie at most, cycles; None if there are none.

    Args:
        offsets: modulo 2^64, as KVM adds them.
    """
    values = tuple(offsets)
    if not values:
        return None
    half = 1 << (_COUNTER_BITS - 1)
    spread = max(values) - min(values)
    if spread < half:
        return spread
    # Relative to one of them: they lie on both sides of 0.
    relative = [((one - values[0] + half) % (2 * half)) - half for one in values]
    return max(relative) - min(relative)


# QEMU's names of CPU properties that decide over a guest's clocks.
CPU_FEATURES = ("tsc-deadline", "invtsc", "kvmclock", "kvmclock-stable-bit", "x2apic")
HYPERV_FEATURES = ("hv-time", "hv-stimer", "hv-frequencies", "hv-reenlightenment")


@dataclass(frozen=True, slots=True)
class Rtc:
    """A VM's battery-backed clock, compared with the host's.

    Attributes:
        offset_ns: how far it is ahead of the host's CLOCK_REALTIME.
        uncertainty_ns: how wrong that can be: the clock counts whole seconds.
    """

    offset_ns: int
    uncertainty_ns: int

    def moved(self, earlier: "Rtc") -> bool:
        """Whether it was set since, by more than the measuring can explain."""
        certain = self.uncertainty_ns + earlier.uncertainty_ns
        return abs(self.offset_ns - earlier.offset_ns) > certain


def rtc(time: Mapping[str, Any], before_ns: int, after_ns: int) -> Rtc:
    """Compare the time that QEMU told with the host's.

    Args:
        time: QEMU's `struct tm`.
        before_ns: CLOCK_REALTIME when it was asked.
        after_ns: the same when it answered.

    Raises:
        ValueError, LookupError, TypeError: that is no time.
    """
    fields = ("tm_mon", "tm_mday", "tm_hour", "tm_min", "tm_sec")
    month, day, hour, minute, second = (int(time[name]) for name in fields)
    year = int(time["tm_year"]) + _TM_YEAR_BASE
    if not (_TM_YEAR_BASE <= year <= _LAST_YEAR and 0 <= month < 12):
        raise ValueError(f"no time: {year}-{month + 1}")
    seconds = calendar.timegm((year, month + 1, day, hour, minute, second))
    # It shows the second that began up to a second ago.
    shown_ns = seconds * NS_PER_SECOND + _HALF_SECOND_NS
    return Rtc(
        shown_ns - (before_ns + after_ns) // 2,
        _HALF_SECOND_NS + max(after_ns - before_ns + 1, 0) // 2,
    )


@dataclass(frozen=True, slots=True)
class AgentTime:
    """A guest's CLOCK_REALTIME compared with the host's, through its agent.

    Attributes:
        offset_ns: how far the guest's clock is ahead of the host's.
        uncertainty_ns: half of the time that asking took.
    """

    offset_ns: int
    uncertainty_ns: int


def agent_time(exchanges: Sequence[tuple[int, int, int]]) -> AgentTime:
    """The best of several questions for the time.

    Args:
        exchanges: the host's time before, the guest's, the host's after; nanoseconds. At least one.

    Returns:
        that with the shortest round trip.
    """
    before, guest, after = min(exchanges, key=lambda one: one[2] - one[0])
    return AgentTime(guest - (before + after) // 2, (after - before + 1) // 2)
