# SPDX-License-Identifier: Apache-2.0
"""How fast this processor's time stamp counter runs, measured.

Source: Intel SDM volume 2 (RDTSC). Most processors do not state it, and the kernel's log forgets
what it found at boot. Measuring takes 30 ms once, and is right to some parts in 10,000, which is
far finer than the buckets of a histogram.
"""

import ctypes
import time
from collections.abc import Callable

from kvmexporter.sources import machinecode
from kvmexporter.units import NS_PER_SECOND

# u64 rdtsc(void)
_CODE = bytes.fromhex(
    "f30f1efa"  # endbr64
    "0f31"  # rdtsc
    "48c1e220"  # shl rdx, 32
    "4809d0"  # or rax, rdx
    "c3"  # ret
)
_SLEEP_SECONDS = 0.03
# What no processor's counter is slower or faster than; else it is not a clock.
_SLOWEST_HZ, _FASTEST_HZ = 10**8, 10**10


def counter() -> Callable[[], int] | None:
    """The instruction as a function; None where there is none or it may not be mapped."""
    address = machinecode.load(_CODE)
    return None if address is None else ctypes.CFUNCTYPE(ctypes.c_uint64)(address)


def measure_hz(
    read: Callable[[], int] | None,
    monotonic_ns: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW),
    sleep: Callable[[float], None] = time.sleep,
) -> int | None:
    """The counter's frequency in hertz; None where it is not to be had.

    Args:
        read: reads the counter.
        monotonic_ns: the clock to compare with.
        sleep: lets it go on.
    """
    if read is None:
        return None
    begun_ns, begun = monotonic_ns(), read()
    sleep(_SLEEP_SECONDS)
    passed_ns, cycles = monotonic_ns() - begun_ns, read() - begun
    if passed_ns <= 0:
        return None
    hz = cycles * NS_PER_SECOND // passed_ns
    return hz if _SLOWEST_HZ <= hz <= _FASTEST_HZ else None
