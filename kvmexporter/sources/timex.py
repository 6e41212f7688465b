# SPDX-License-Identifier: Apache-2.0
"""How the kernel disciplines CLOCK_REALTIME, from adjtimex(2) with nothing to change.

Source: adjtimex(2), include/uapi/linux/timex.h (`struct timex`, 64-bit), kernel/time/ntp.c.
One system call; reading takes no privilege.
"""

import ctypes
import os
from collections.abc import Callable
from typing import ClassVar

from kvmexporter.errors import Unavailable
from kvmexporter.model.clocks import Timex, TimexReading


class RawTimex(ctypes.Structure):
    """`struct timex` where long has 64 bits; the system call fills all of it."""

    _fields_: ClassVar = [
        ("modes", ctypes.c_uint32),
        ("offset", ctypes.c_int64),
        ("freq", ctypes.c_int64),
        ("maxerror", ctypes.c_int64),
        ("esterror", ctypes.c_int64),
        ("status", ctypes.c_int32),
        ("constant", ctypes.c_int64),
        ("precision", ctypes.c_int64),
        ("tolerance", ctypes.c_int64),
        ("tv_sec", ctypes.c_int64),
        ("tv_usec", ctypes.c_int64),
        ("tick", ctypes.c_int64),
        ("ppsfreq", ctypes.c_int64),
        ("jitter", ctypes.c_int64),
        ("shift", ctypes.c_int32),
        ("stabil", ctypes.c_int64),
        ("jitcnt", ctypes.c_int64),
        ("calcnt", ctypes.c_int64),
        ("errcnt", ctypes.c_int64),
        ("stbcnt", ctypes.c_int64),
        ("tai", ctypes.c_int32),
        ("reserved", ctypes.c_int32 * 11),
    ]


_libc = ctypes.CDLL(None, use_errno=True)


def adjtimex() -> TimexReading:
    """Ask the kernel, changing nothing.

    Returns:
        the call's own result and the fields as they came, in the kernel's units.

    Raises:
        Unavailable: the system call is not allowed here.
    """
    raw = RawTimex(modes=0)
    state = _libc.adjtimex(ctypes.byref(raw))
    if state < 0:
        raise Unavailable(
            f"adjtimex: {os.strerror(ctypes.get_errno())}",
            "let the sandbox's system call filter pass adjtimex",
        )
    return TimexReading(
        state=state,
        offset=raw.offset,
        freq=raw.freq,
        maxerror=raw.maxerror,
        esterror=raw.esterror,
        status=raw.status,
        tick=raw.tick,
        tai=raw.tai,
    )


class TimexReader:
    """Readings whose values the kernel can have meant, and a count of those it cannot.

    Args:
        read: one reading.
    """

    def __init__(self, read: Callable[[], TimexReading] = adjtimex) -> None:
        self._read = read
        self.rejected = 0

    def sample(self) -> Timex:
        """One reading in nanoseconds; what it rejects is None and counted.

        Raises:
            Unavailable: the system call is not allowed here.
        """
        timex = Timex.parse(self._read())
        self.rejected += timex.rejected
        return timex
