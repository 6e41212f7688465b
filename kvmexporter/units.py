# SPDX-License-Identifier: Apache-2.0
"""The only conversions from the units of kernel and VMM to those that leave the process."""

NS_PER_SECOND = 1_000_000_000
NS_PER_US = 1_000
HZ_PER_KHZ = 1_000
BYTES_PER_KIB = 1024
BYTES_PER_BALLOON_PAGE = 4096


def ns_to_seconds(ns: float) -> float:
    """Nanoseconds as seconds."""
    return ns / NS_PER_SECOND


def kib_to_bytes(kib: int) -> int:
    """Kibibytes (the "kB" of procfs) as bytes."""
    return kib * BYTES_PER_KIB


def balloon_pages_to_bytes(pages: int) -> int:
    """Pages of a virtio balloon (virtio 1.3, 5.5.6: 4096 bytes, whatever the guest's) as bytes."""
    return pages * BYTES_PER_BALLOON_PAGE


def ticks_to_ns(ticks: int, ticks_per_second: int) -> int:
    """Clock ticks (procfs, `sysconf(_SC_CLK_TCK)` a second) as nanoseconds."""
    return ticks * NS_PER_SECOND // ticks_per_second


def us_to_ns(us: int) -> int:
    """Microseconds as nanoseconds."""
    return us * NS_PER_US


def khz_to_hz(khz: int) -> int:
    """Kilohertz (the kernel's `tsc_khz`) as hertz."""
    return khz * HZ_PER_KHZ


def scaled_ppm_to_ratio(scaled: int) -> float:
    """Parts per million with 16 fractional bits (`timex.freq`) as a ratio."""
    return scaled / 65536e6
