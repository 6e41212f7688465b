# SPDX-License-Identifier: Apache-2.0
"""The system the exporter itself runs on: where it shows its clocks, and what it is.

Every root and system call that the clocks' collectors use is named here once.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from kvmexporter.errors import Unavailable
from kvmexporter.model.clocks import TimexReading
from kvmexporter.model.role import Role
from kvmexporter.sources.clocks import ReadClock
from kvmexporter.sources.clocksteps import StepWatcher
from kvmexporter.sources.cpuid import Cpuid
from kvmexporter.sources.host_nics import HostNics
from kvmexporter.sources.kernellog import KernelLog
from kvmexporter.sources.ptp import PtpClock
from kvmexporter.sources.sysfs import Sysfs
from kvmexporter.sources.taps import Taps
from kvmexporter.sources.timex import adjtimex

_UNKNOWN = Role(host=False, guest=False, because="nobody has looked")


@dataclass(frozen=True, slots=True)
class System:
    """Where to read, and whose clocks these are.

    Attributes:
        role: host, guest or both; neither until somebody has looked.
        sysfs: the kernel's view of its devices.
        devices: where device nodes are.
        boot: where the kernel and its configuration are.
        taps: the tap devices that VMMs hold.
        nics: how NICs hang together.
        read_clock: a clock's id → its time, nanoseconds.
        adjtimex: how the clock is disciplined.
        open_ptp: opens a PTP clock's node.
        cpuid: the instruction, None if it is not to be had.
        tsc_hz: how fast the time stamp counter runs, measured; None if it is not to be had.
    """

    role: Role = _UNKNOWN
    sysfs: Sysfs = field(default_factory=Sysfs)
    devices: Path = Path("/dev")
    boot: Path = Path("/boot")
    taps: Taps = field(default_factory=Taps)
    nics: HostNics = field(default_factory=HostNics)
    read_clock: ReadClock = time.clock_gettime_ns
    adjtimex: Callable[[], TimexReading] = adjtimex
    open_ptp: Callable[[Path], PtpClock] = PtpClock.open
    cpuid: Cpuid | None = None
    tsc_hz: int | None = None

    def kernel_log(self) -> KernelLog | Unavailable:
        """The kernel's messages, or why they may not be read."""
        try:
            return KernelLog.open(self.devices / "kmsg")
        except Unavailable as err:
            return err

    def step_watcher(self) -> StepWatcher | None:
        """What notices that the clock is set; None where the kernel does not tell."""
        try:
            return StepWatcher()
        except Unavailable:
            return None
