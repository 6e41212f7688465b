# SPDX-License-Identifier: Apache-2.0
"""VMClock devices: the hypervisor's word on the guest's time and its disruptions.

Source: /dev/vmclockN (drivers/ptp/ptp_vmclock.c, Linux 6.13 and later). Two reads of one
page a sample; the page's sequence number says whether they met an update.
"""

import os
from pathlib import Path

from kvmexporter.errors import KvmExporterError
from kvmexporter.model.vmclock import PAGE_BYTES, VmClock
from kvmexporter.sources.devicenode import open_node

# An update takes nanoseconds: one that seems to last this many reads never ends.
_TRIES = 16
_UPDATING = 1


class VmClockDevice:
    """One device; owns the descriptor.

    Args:
        name: the device's.
        fd: of its node.
    """

    def __init__(self, name: str, fd: int) -> None:
        self.name = name
        self._fd = fd

    @classmethod
    def open(cls, path: Path) -> "VmClockDevice":
        """Open a device node.

        Raises:
            Unavailable: it is not there, or may not be read.
        """
        return cls(path.name, open_node(path))

    def close(self) -> None:
        """Close it; more than once does no harm."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read(self) -> VmClock:
        """The page at one moment.

        Raises:
            KvmExporterError: it cannot be read, is no such page, or never settles.
        """
        try:
            for _ in range(_TRIES):
                clock = VmClock.parse(os.pread(self._fd, PAGE_BYTES, 0))
                again = VmClock.parse(os.pread(self._fd, PAGE_BYTES, 0))
                if clock == again and not clock.sequence & _UPDATING:
                    return clock
        except (OSError, ValueError) as err:
            raise KvmExporterError(f"{self.name}: {err}") from err
        raise KvmExporterError(f"{self.name}: the hypervisor never ends its update")


def find(devices: Path = Path("/dev")) -> list[Path]:
    """The device nodes there are."""
    return sorted(devices.glob("vmclock*"))
