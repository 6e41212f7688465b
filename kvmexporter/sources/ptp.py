# SPDX-License-Identifier: Apache-2.0
"""PTP clocks compared with CLOCK_REALTIME; in a guest, ptp_kvm is the host's clock.

Source: include/uapi/linux/ptp_clock.h, drivers/ptp/ptp_chardev.c (Linux 7.2). One ioctl
with five comparisons, one of which is told. A virtual clock answers in microseconds.
"""

import errno
import fcntl
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from kvmexporter.errors import Unavailable
from kvmexporter.model.clocks import PtpMethod, PtpOffset, ptp_offset
from kvmexporter.sources.devicenode import open_node
from kvmexporter.units import NS_PER_SECOND

_TIME = struct.Struct("=qII")  # struct ptp_clock_time: s, ns, reserved
_HEADER = struct.Struct("=I12x")  # n_samples, clockid or reserved
_MAX_SAMPLES = 25
_SAMPLES = 5

_WRITE, _READ_WRITE = 1, 3


def _request(direction: int, number: int, size: int) -> int:
    """_IOC() of include/uapi/asm-generic/ioctl.h, for the type '='."""
    return direction << 30 | size << 16 | ord("=") << 8 | number


_SIMPLE_BYTES = _HEADER.size + (2 * _MAX_SAMPLES + 1) * _TIME.size
_PRECISE_BYTES = 3 * _TIME.size + 16
_EXTENDED_BYTES = _HEADER.size + 3 * _MAX_SAMPLES * _TIME.size

PTP_SYS_OFFSET = _request(_WRITE, 5, _SIMPLE_BYTES)
PTP_SYS_OFFSET_PRECISE = _request(_READ_WRITE, 8, _PRECISE_BYTES)
PTP_SYS_OFFSET_EXTENDED = _request(_READ_WRITE, 9, _EXTENDED_BYTES)

# The driver or the present clocksource cannot do it: another way may work.
_NOT_SO = {errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENODEV, errno.ENOSYS}

Ioctl = Callable[[int, int, bytearray], int]


def _ioctl(fd: int, request: int, buffer: bytearray) -> int:
    return int(fcntl.ioctl(fd, request, buffer, True))


@dataclass(frozen=True, slots=True)
class _Way:
    method: PtpMethod
    request: int
    size: int
    samples: Callable[[bytearray], list[tuple[int, int, int]]]


class PtpClock:
    """One PTP clock; owns the descriptor.

    Args:
        fd: of its device node.
        ioctl: the system call.
    """

    def __init__(self, fd: int, ioctl: Ioctl = _ioctl) -> None:
        self._fd = fd
        self._ioctl = ioctl

    @classmethod
    def open(cls, path: Path) -> "PtpClock":
        """Open a device node.

        Raises:
            Unavailable: it is not there, or may not be read.
        """
        return cls(open_node(path))

    def close(self) -> None:
        """Close it; more than once does no harm."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def offset(self) -> PtpOffset:
        """Compare it with CLOCK_REALTIME in the best way that works now.

        Raises:
            Unavailable: none works.
        """
        reason = "the clock was set meanwhile"
        for way in _WAYS:
            buffer = bytearray(way.size)
            if way.method is not PtpMethod.PRECISE:
                _HEADER.pack_into(buffer, 0, _SAMPLES)
            try:
                self._ioctl(self._fd, way.request, buffer)
            except OSError as err:
                reason = os.strerror(err.errno or 0)
                if err.errno in _NOT_SO:
                    continue
                break
            if result := ptp_offset(way.samples(buffer), way.method):
                return result
        raise Unavailable(
            f"the PTP clock does not answer: {reason}",
            "see whether the host's clocksource is tsc: ptp_kvm needs that",
        )


def _time(buffer: bytearray, offset: int) -> int:
    seconds, ns, _ = _TIME.unpack_from(buffer, offset)
    return int(seconds * NS_PER_SECOND + ns)


def _times(buffer: bytearray, count: int) -> list[int]:
    return [_time(buffer, _HEADER.size + index * _TIME.size) for index in range(count)]


def _precise(buffer: bytearray) -> list[tuple[int, int, int]]:
    # Both were computed from one counter value; what is left is rounding.
    device, realtime = _time(buffer, 0), _time(buffer, _TIME.size)
    return [(realtime, device, realtime + 1)]


def _extended(buffer: bytearray) -> list[tuple[int, int, int]]:
    times = _times(buffer, 3 * _SAMPLES)
    return [(times[at], times[at + 1], times[at + 2]) for at in range(0, len(times), 3)]


def _simple(buffer: bytearray) -> list[tuple[int, int, int]]:
    times = _times(buffer, 2 * _SAMPLES + 1)
    return [(times[at], times[at + 1], times[at + 2]) for at in range(0, len(times) - 1, 2)]


_WAYS = (
    _Way(PtpMethod.PRECISE, PTP_SYS_OFFSET_PRECISE, _PRECISE_BYTES, _precise),
    _Way(PtpMethod.EXTENDED, PTP_SYS_OFFSET_EXTENDED, _EXTENDED_BYTES, _extended),
    _Way(PtpMethod.SIMPLE, PTP_SYS_OFFSET, _SIMPLE_BYTES, _simple),
)
