# SPDX-License-Identifier: Apache-2.0
"""A system's clocks as files: sysfs, device nodes, the cpuinfo of a procfs."""

import struct
from pathlib import Path

from kvmexporter.sources.sysfs import Sysfs

CPU_FLAGS = "fpu tsc constant_tsc nonstop_tsc tsc_deadline_timer"


class ClockTree:
    """An x86 system on the TSC, to be changed as a test needs it.

    Args:
        root: an existing directory.
    """

    def __init__(self, root: Path) -> None:
        self.proc, self.sys, self.dev = root / "proc", root / "sys", root / "dev"
        for directory in (self.proc, self.sys, self.dev):
            directory.mkdir(exist_ok=True)
        self.sysfs = Sysfs(self.sys)
        self.cpuinfo(CPU_FLAGS)
        self.clocksource("tsc", "tsc hpet acpi_pm")

    def cpuinfo(self, flags: str) -> None:
        """Set the processors' flags."""
        text = "".join(f"processor\t: {cpu}\nflags\t\t: {flags}\n\n" for cpu in range(2))
        (self.proc / "cpuinfo").write_text(text)

    def clocksource(self, current: str, available: str) -> None:
        """Set the clocksource in use and those that could be."""
        self.attribute("devices/system/clocksource/clocksource0/current_clocksource", current)
        self.attribute("devices/system/clocksource/clocksource0/available_clocksource", available)

    def clockevent(self, cpu: int, device: str) -> None:
        """Set a CPU's timer."""
        self.attribute(f"devices/system/clockevents/clockevent{cpu}/current_device", device)

    def ptp(self, device: str, clock_name: str) -> None:
        """Add a PTP clock."""
        self.attribute(f"class/ptp/{device}/clock_name", clock_name)

    def attribute(self, path: str, value: str) -> None:
        """Write any attribute, with the newline that the kernel writes."""
        file = self.sys / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")


def vmclock_page(
    sequence: int = 2,
    marker: int = 77,
    flags: int = 0,
    status: int = 2,
    magic: int = 0x4B4C4356,
    size: int = 4096,
    version: int = 1,
    esterror_ns: int = 0,
    maxerror_ns: int = 0,
) -> bytes:
    """A VMClock page, field by field as the kernel's header has them."""
    page = bytearray(4096)
    for offset, form, value in (
        (0, "<I", magic), (4, "<I", size), (8, "<H", version), (10, "<B", 1), (11, "<B", 1),
        (12, "<I", sequence), (16, "<Q", marker), (24, "<Q", flags), (34, "<B", status),
        (36, "<h", 37), (88, "<Q", esterror_ns), (96, "<Q", maxerror_ns),
    ):  # fmt: skip
        struct.pack_into(form, page, offset, value)
    return bytes(page)
