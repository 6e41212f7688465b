# SPDX-License-Identifier: Apache-2.0
"""What an NTP daemon tells the kernel, without one.

Source: adjtimex(2), include/uapi/linux/timex.h, kernel/time/ntp.c.
"""

import ctypes

from kvmexporter.sources.timex import RawTimex

_ADJ_OFFSET, _ADJ_MAXERROR, _ADJ_ESTERROR, _ADJ_STATUS, _ADJ_TIMECONST = 1, 4, 8, 16, 32
_STA_PLL, _STA_FREQHOLD = 0x01, 0x80
# The longest: what is to be worked off lasts for hours.
_CONSTANT = 10
_MICROSECONDS = 1_000_000

_libc = ctypes.CDLL(None, use_errno=True)


def say_synchronised(offset: float = 0, max_error: float = 0.001) -> None:
    """Call the clock synchronised.

    Args:
        offset: how far it is off its reference, seconds; the kernel takes half a second at most.
        max_error: how wrong it can be, seconds; grows by 500 µs a second from now on.

    Raises:
        OSError: the kernel refused.
    """
    raw = RawTimex(
        modes=_ADJ_OFFSET | _ADJ_MAXERROR | _ADJ_ESTERROR | _ADJ_STATUS | _ADJ_TIMECONST,
        offset=round(offset * _MICROSECONDS),
        maxerror=round(max_error * _MICROSECONDS),
        esterror=round(max_error * _MICROSECONDS / 2),
        # The clock's rate stays what it is, or guests would be seen to drift.
        status=_STA_PLL | _STA_FREQHOLD,
        constant=_CONSTANT,
    )
    if _libc.adjtimex(ctypes.byref(raw)) < 0:
        raise OSError(ctypes.get_errno(), "adjtimex")
