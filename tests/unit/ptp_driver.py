# SPDX-License-Identifier: Apache-2.0
"""The kernel's side of /dev/ptpN, for clocks that this machine does not have."""

import os
import struct
from pathlib import Path

from kvmexporter.errors import Unavailable
from kvmexporter.sources.ptp import PTP_SYS_OFFSET_PRECISE, PtpClock

SECOND = 10**9


class PtpDriver:
    """The driver of every PTP clock: the host's time and CLOCK_REALTIME, as a test sets them."""

    def __init__(self) -> None:
        self.host_ns = 1000 * SECOND
        self.guest_ns = 1000 * SECOND
        self.refusal = 0
        self.opened: list[str] = []

    def open(self, path: Path) -> PtpClock:
        if not path.exists():
            raise Unavailable(f"{path}: No such file or directory", "start as root")
        self.opened.append(path.name)
        return PtpClock(os.open(path, os.O_RDONLY), self._ioctl)

    def _ioctl(self, fd: int, request: int, buffer: bytearray) -> int:
        os.fstat(fd)  # as any system call on a closed descriptor would fail
        if self.refusal:
            raise OSError(self.refusal, os.strerror(self.refusal))
        assert request == PTP_SYS_OFFSET_PRECISE
        for at, ns in ((0, self.host_ns), (16, self.guest_ns)):
            struct.pack_into("<qII", buffer, at, ns // SECOND, ns % SECOND, 0)
        return 0
