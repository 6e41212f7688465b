# SPDX-License-Identifier: Apache-2.0
"""adjtimex(2)."""

import ctypes

import pytest

from kvmexporter.errors import Unavailable
from kvmexporter.model.clocks import STA_NANO, TIME_ERROR, TimexReading
from kvmexporter.sources.timex import RawTimex, TimexReader, adjtimex

ARTEFACT_NS = 2**32


class FakeKernel:
    """An adjtimex that answers with offsets in turn, and repeats the last one."""

    def __init__(self, *offsets: int, status: int = STA_NANO, state: int = 0) -> None:
        self._offsets = list(offsets)
        self._status = status
        self._state = state

    def __call__(self) -> TimexReading:
        offset = self._offsets.pop(0) if len(self._offsets) > 1 else self._offsets[0]
        return TimexReading(self._state, offset, 0, 500, 20, self._status, 10_000, 37)


def test_layout() -> None:
    """As `struct timex` where long has 64 bits."""
    assert ctypes.sizeof(RawTimex) == 208
    offsets = {name: getattr(RawTimex, name).offset for name in ("offset", "status", "tick", "tai")}
    assert offsets == {"offset": 8, "status": 40, "tick": 88, "tai": 160}


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("status", "unit"), [(STA_NANO, 1), (0, 1000)])
def test_the_artefact_is_counted_and_never_shown(sign: int, status: int, unit: int) -> None:
    """Offsets before and after it are shown as they are."""
    kernel = FakeKernel(
        sign * 41_000 // unit, sign * ARTEFACT_NS // unit, sign * ARTEFACT_NS // unit,
        sign * -43_000 // unit, status=status,
    )  # fmt: skip
    reader = TimexReader(kernel)
    assert [reader.sample().offset_ns for _ in range(4)] == [
        sign * 41_000, None, None, sign * -43_000,
    ]  # fmt: skip
    assert reader.rejected == 2


def test_unsynchronized() -> None:
    """Told, and no reading is rejected for it."""
    reader = TimexReader(FakeKernel(0, state=TIME_ERROR, status=0x0040))
    assert reader.sample().synchronized is False
    assert reader.rejected == 0


def test_refused() -> None:
    """A filter that forbids the system call leaves no half-made reading."""

    def refuse() -> TimexReading:
        raise Unavailable("adjtimex: Operation not permitted", "let it pass")

    reader = TimexReader(refuse)
    with pytest.raises(Unavailable):
        reader.sample()
    assert reader.rejected == 0


def test_this_system() -> None:
    """The real call: the kernel's limits hold, and reading changes nothing."""
    before, after = adjtimex(), adjtimex()
    assert 0 <= before.state <= TIME_ERROR
    # kernel/time/ntp.c: the tick is within 10 % of 10,000 us, the frequency within 500 ppm.
    assert 9_000 <= before.tick <= 11_000
    assert abs(before.freq) <= 500 << 16
    assert (after.freq, after.tick, after.tai) == (before.freq, before.tick, before.tai)
    reader = TimexReader()
    sample = reader.sample()
    assert reader.rejected == 0
    assert sample.frequency_ratio == pytest.approx(1, abs=0.11)
    assert sample.max_error_ns is not None
    assert sample.max_error_ns >= 0
