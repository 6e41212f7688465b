# SPDX-License-Identifier: Apache-2.0
"""PTP clocks: every way of asking, and every way that it can fail."""

import errno
import os
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from kvmexporter.errors import Unavailable
from kvmexporter.model.clocks import PtpMethod, PtpOffset
from kvmexporter.sources.ptp import (
    PTP_SYS_OFFSET,
    PTP_SYS_OFFSET_EXTENDED,
    PTP_SYS_OFFSET_PRECISE,
    PtpClock,
)

NOW = 1_790_000_000_999_999_990
Answer = int | Callable[[bytearray], None]


class Driver:
    """A driver that answers a request, or refuses it with an errno."""

    def __init__(self, precise: Answer, extended: Answer, simple: Answer) -> None:
        self._answers = {
            PTP_SYS_OFFSET_PRECISE: precise,
            PTP_SYS_OFFSET_EXTENDED: extended,
            PTP_SYS_OFFSET: simple,
        }
        self.asked: list[int] = []

    def __call__(self, _fd: int, request: int, buffer: bytearray) -> int:
        self.asked.append(request)
        answer = self._answers[request]
        if isinstance(answer, int):
            raise OSError(answer, os.strerror(answer))
        # As the kernel knows the buffer's size: from the request.
        assert len(buffer) == request >> 16 & 0x3FFF
        answer(buffer)
        return 0

    def clock(self) -> PtpClock:
        return PtpClock(-1, self)


def put(buffer: bytearray, at: int, *times_ns: int) -> None:
    for index, ns in enumerate(times_ns):
        struct.pack_into("<qII", buffer, at + index * 16, ns // 10**9, ns % 10**9, 0xDEAD)


def precise(buffer: bytearray) -> None:
    put(buffer, 0, NOW + 250, NOW, 77)


def extended(buffer: bytearray) -> None:
    (count,) = struct.unpack_from("<I", buffer)
    for number in range(count):
        delay = 4000 - 500 * number
        put(buffer, 16 + number * 48, NOW, NOW + delay // 2 - 123, NOW + delay)


def simple(buffer: bytearray) -> None:
    (count,) = struct.unpack_from("<I", buffer)
    for number in range(count):
        put(buffer, 16 + number * 32, NOW + number * 1000, NOW + number * 1000 + 40_500)
    put(buffer, 16 + count * 32, NOW + count * 1000)


def test_requests() -> None:
    """As the C macros of the kernel's header make them."""
    assert (PTP_SYS_OFFSET, PTP_SYS_OFFSET_PRECISE, PTP_SYS_OFFSET_EXTENDED) == (
        0x43403D05,
        0xC0403D08,
        0xC4C03D09,
    )


def test_precise_is_asked_first() -> None:
    """One counter value gives both times; nothing else is asked."""
    driver = Driver(precise, extended, simple)
    assert driver.clock().offset() == PtpOffset(NOW + 250, NOW, 1, PtpMethod.PRECISE)
    assert driver.asked == [PTP_SYS_OFFSET_PRECISE]


@pytest.mark.parametrize("refusal", [errno.EOPNOTSUPP, errno.ENODEV, errno.EINVAL, errno.ENOTTY])
def test_extended_next(refusal: int) -> None:
    """The shortest of five round trips, half of it for the uncertainty."""
    driver = Driver(refusal, extended, simple)
    offset = driver.clock().offset()
    assert (offset.offset_ns, offset.uncertainty_ns) == (-123, 1000)
    assert offset.method is PtpMethod.EXTENDED


def test_simple_last() -> None:
    """Interleaved times, each device's between two of the system's."""
    driver = Driver(errno.ENODEV, errno.EOPNOTSUPP, simple)
    offset = driver.clock().offset()
    assert (offset.offset_ns, offset.uncertainty_ns) == (40_000, 500)
    assert offset.method is PtpMethod.SIMPLE
    assert driver.asked == [PTP_SYS_OFFSET_PRECISE, PTP_SYS_OFFSET_EXTENDED, PTP_SYS_OFFSET]


def test_none_works() -> None:
    """ptp_kvm on a host without the TSC refuses every way: told with the reason."""
    driver = Driver(errno.EOPNOTSUPP, errno.EOPNOTSUPP, errno.EOPNOTSUPP)
    with pytest.raises(Unavailable, match="does not answer: Operation not supported"):
        driver.clock().offset()
    assert len(driver.asked) == 3


def test_a_broken_device_is_asked_once() -> None:
    """Another way does not help where the device itself is gone."""
    driver = Driver(errno.EIO, extended, simple)
    with pytest.raises(Unavailable, match="Input/output error"):
        driver.clock().offset()
    assert driver.asked == [PTP_SYS_OFFSET_PRECISE]


def test_before_1970() -> None:
    """A device that was never set may be anywhere; its sign holds."""

    def ancient(buffer: bytearray) -> None:
        put(buffer, 0, -(10**18), NOW, 0)

    assert Driver(ancient, 0, 0).clock().offset().offset_ns == -(10**18) - NOW


def test_no_device(tmp_path: Path) -> None:
    """Told with its remedy."""
    with pytest.raises(Unavailable, match=r"ptp0: No such file.*start as root"):
        PtpClock.open(tmp_path / "ptp0")


def test_not_a_ptp_clock(tmp_path: Path) -> None:
    """The real ioctl on another kind of file is refused, not taken for an answer."""
    (tmp_path / "ptp0").write_bytes(bytes(4096))
    clock = PtpClock.open(tmp_path / "ptp0")
    with pytest.raises(Unavailable, match="Inappropriate ioctl"):
        clock.offset()
    clock.close()
    clock.close()
