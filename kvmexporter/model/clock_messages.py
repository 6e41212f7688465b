# SPDX-License-Identifier: Apache-2.0
"""What the kernel's log says of clocksources and the TSC.

Source: kernel/time/clocksource.c, arch/x86/kernel/tsc.c (Linux 6.1 to 7.2).
"""

import re
from dataclasses import dataclass

from kvmexporter.units import khz_to_hz

_MAX_NAME = 32  # include/linux/clocksource.h: CS_NAME_LEN
_MAX_REASON = 80


@dataclass(frozen=True, slots=True)
class Switched:
    """The kernel switched to this clocksource."""

    clocksource: str


@dataclass(frozen=True, slots=True)
class MarkedUnstable:
    """The kernel gave up on a clocksource; why, if the message says so."""

    clocksource: str
    reason: str


@dataclass(frozen=True, slots=True)
class TscFrequency:
    """The TSC's frequency, hertz; a later message is the better one."""

    hz: int


Message = Switched | MarkedUnstable | TscFrequency

_SWITCHED = re.compile(r"clocksource: Switched to clocksource (\S+)")
_WATCHDOG = re.compile(
    r"clocksource: timekeeping watchdog on CPU\d+: Marking clocksource '([^']+)' as unstable"
)
_TSC_UNSTABLE = re.compile(r"tsc: Marking TSC unstable due to (.+)")
_FREQUENCY = re.compile(
    r"tsc: (?:Detected (\d+)\.(\d{3}) MHz (?:processor|TSC)"
    r"|Refined TSC clocksource calibration: (\d+)\.(\d{3}) MHz)"
)


def parse(text: str) -> Message | None:
    """What a message says, None if it is about something else."""
    if match := _SWITCHED.match(text):
        return Switched(match[1][:_MAX_NAME])
    if match := _WATCHDOG.match(text):
        return MarkedUnstable(match[1][:_MAX_NAME], "")
    if match := _TSC_UNSTABLE.match(text):
        return MarkedUnstable("tsc", match[1][:_MAX_REASON])
    if match := _FREQUENCY.match(text):
        mhz, khz = (match[1], match[2]) if match[1] else (match[3], match[4])
        return TscFrequency(khz_to_hz(int(mhz + khz)))
    return None
