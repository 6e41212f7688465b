# SPDX-License-Identifier: Apache-2.0
"""What is known of a system's clocks at one moment.

Source: include/uapi/linux/timex.h and include/linux/timex.h (Linux 7.2),
include/uapi/linux/ptp_clock.h, arch/x86/include/asm/cpufeatures.h.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

from kvmexporter.units import scaled_ppm_to_ratio, us_to_ns

# include/linux/timex.h: the kernel clamps the offset that it still has to work off to
# MAXPHASE, so that a larger one is not an offset. One of 2^32 ns was seen for moments.
MAX_OFFSET_NS = 500_000_000

STA_UNSYNC = 0x0040
STA_CLOCKERR = 0x1000
STA_NANO = 0x2000
TIME_ERROR = 5

# struct timex counts ticks of USER_HZ = 100 a second, each nominally 10,000 us long.
_NOMINAL_TICK_US = 10_000

PTP_KVM = "KVM virtual PTP"


@dataclass(frozen=True, slots=True)
class Clocksources:
    """Clocksources: the one in use, and all that could be, it included."""

    current: str
    available: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ClocksourceHistory:
    """What became of the clocksource since somebody began to look.

    Attributes:
        changes: (from, to) → how often.
        unstable: the clocksources that the kernel gave up on, → its reason, "" if it gave none.
        watched_by: `kernel_log`, or `sampling`, which misses what was undone between samples.
    """

    changes: Mapping[tuple[str, str], int]
    unstable: Mapping[str, str]
    watched_by: str


@dataclass(frozen=True, slots=True)
class TimexReading:
    """What adjtimex(2) returned, as it came; for the unit of offset see `Timex`."""

    state: int
    offset: int
    freq: int
    maxerror: int
    esterror: int
    status: int
    tick: int
    tai: int


@dataclass(frozen=True, slots=True)
class Timex:
    """How the kernel disciplines CLOCK_REALTIME.

    Attributes:
        synchronized: whether the kernel takes it for synchronised.
        offset_ns: what is still to be worked off, None if the kernel cannot have meant it.
        estimated_error_ns: the estimated error, None likewise.
        max_error_ns: the largest possible error, None likewise.
        frequency_ratio: how fast it is run, 1 when it is left alone.
        tai_offset: seconds that TAI is ahead, 0 if nobody told the kernel.
        rejected: how many of the values the kernel cannot have meant.
    """

    synchronized: bool
    offset_ns: int | None
    estimated_error_ns: int | None
    max_error_ns: int | None
    frequency_ratio: float
    tai_offset: int
    rejected: int

    @classmethod
    def parse(cls, reading: TimexReading) -> Self:
        """A reading in nanoseconds: STA_NANO says what the offset's unit is."""
        offset = reading.offset
        offset_ns: int | None = offset if reading.status & STA_NANO else us_to_ns(offset)
        if abs(offset_ns or 0) > MAX_OFFSET_NS:
            offset_ns = None
        # Errors are microseconds whatever the status says, and never negative.
        estimated, maximum = (
            us_to_ns(error) if error >= 0 else None
            for error in (reading.esterror, reading.maxerror)
        )
        return cls(
            synchronized=reading.state != TIME_ERROR
            and not reading.status & (STA_UNSYNC | STA_CLOCKERR),
            offset_ns=offset_ns,
            estimated_error_ns=estimated,
            max_error_ns=maximum,
            frequency_ratio=reading.tick / _NOMINAL_TICK_US + scaled_ppm_to_ratio(reading.freq),
            tai_offset=reading.tai,
            rejected=(offset_ns, estimated, maximum).count(None),
        )


@dataclass(frozen=True, slots=True)
class ClockReading:
    """Clocks read together, nanoseconds; spread_ns: how long that took."""

    realtime_ns: int
    monotonic_ns: int
    monotonic_raw_ns: int
    boottime_ns: int
    spread_ns: int


@dataclass(frozen=True, slots=True)
class Drift:
    """How much faster than a reference clocks ran, over a window of the reference's time.

    Attributes:
        window_ns: the window.
        ratios: clock → its gain, 1e-6 for one microsecond a second.
    """

    window_ns: int
    ratios: Mapping[str, float]


def drift(
    earlier: tuple[int, Mapping[str, int]], later: tuple[int, Mapping[str, int]]
) -> Drift | None:
    """The drift between two readings, each a reference's time and clock → its time.

    Returns:
        None where the reference did not advance.
    """
    window_ns = later[0] - earlier[0]
    if window_ns <= 0:
        return None
    return Drift(
        window_ns,
        {
            clock: (now - earlier[1][clock] - window_ns) / window_ns
            for clock, now in later[1].items()
            if clock in earlier[1]
        },
    )


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps of CLOCK_REALTIME since somebody began to look.

    Attributes:
        count: steps.
        forward_ns: what those forward add up to.
        backward_ns: what those backward add up to, positive.
        last_ns: the latest one, negative if it went back; 0 before the first.
    """

    count: int = 0
    forward_ns: int = 0
    backward_ns: int = 0
    last_ns: int = 0

    def stepped(self, size_ns: int) -> "Steps":
        """With one more."""
        return Steps(
            self.count + 1,
            self.forward_ns + max(size_ns, 0),
            self.backward_ns + max(-size_ns, 0),
            size_ns,
        )


@dataclass(frozen=True, slots=True)
class PtpDevice:
    """A PTP clock: its node in /dev and the name that its driver gave it."""

    device: str
    clock_name: str

    @property
    def host_clock(self) -> str:
        """Which clock of the hypervisor's it is, "" if it is hardware of its own."""
        if self.clock_name == PTP_KVM:
            return "ptp_kvm"
        return f"ptp_{self.clock_name}" if self.clock_name.startswith("vmclock") else ""


class PtpMethod(StrEnum):
    """How a PTP clock was compared, best first."""

    PRECISE = "precise"
    EXTENDED = "extended"
    SIMPLE = "simple"


@dataclass(frozen=True, slots=True)
class PtpOffset:
    """A PTP clock compared with CLOCK_REALTIME.

    Attributes:
        device_ns: the device's time.
        realtime_ns: CLOCK_REALTIME at that moment.
        uncertainty_ns: the most that the two can have been read apart.
        method: how.
    """

    device_ns: int
    realtime_ns: int
    uncertainty_ns: int
    method: PtpMethod

    @property
    def offset_ns(self) -> int:
        """How far the device is ahead of CLOCK_REALTIME."""
        return self.device_ns - self.realtime_ns


def ptp_offset(samples: Sequence[tuple[int, int, int]], method: PtpMethod) -> PtpOffset | None:
    """The best of several comparisons.

    Args:
        samples: CLOCK_REALTIME before, the device, CLOCK_REALTIME after; nanoseconds.
        method: how they were taken.

    Returns:
        that with the shortest round trip; None if the clock was set back in each.
    """
    usable = [sample for sample in samples if sample[2] >= sample[0]]
    if not usable:
        return None
    before, device, after = min(usable, key=lambda sample: sample[2] - sample[0])
    # Rounded up: half a nanosecond is not known.
    return PtpOffset(device, (before + after) // 2, (after - before + 1) // 2, method)


# feature → the flag in /proc/cpuinfo.
_TSC_FLAGS = {
    "constant": "constant_tsc",
    "nonstop": "nonstop_tsc",
    "known_freq": "tsc_known_freq",
    "reliable": "tsc_reliable",
    "adjust": "tsc_adjust",
    "deadline_timer": "tsc_deadline_timer",
}
_INVARIANT = ("constant", "nonstop")


def tsc_features(flags: frozenset[str]) -> dict[str, bool]:
    """What the processor's time stamp counter can do: feature → whether.

    Args:
        flags: of /proc/cpuinfo.

    Returns:
        empty where there is no such counter.
    """
    if "tsc" not in flags:
        return {}
    features = {feature: flag in flags for feature, flag in _TSC_FLAGS.items()}
    features["invariant"] = all(features[feature] for feature in _INVARIANT)
    return features
