# SPDX-License-Identifier: Apache-2.0
"""Clocks as values: units, bounds, signs."""

import pytest

from kvmexporter.model.clocks import (
    MAX_OFFSET_NS,
    STA_CLOCKERR,
    STA_NANO,
    STA_UNSYNC,
    TIME_ERROR,
    PtpDevice,
    PtpMethod,
    PtpOffset,
    Steps,
    Timex,
    TimexReading,
    drift,
    ptp_offset,
    tsc_features,
)

PLL = 0x0001


def reading(
    offset: int = 0,
    status: int = PLL | STA_NANO,
    state: int = 0,
    maxerror: int = 500,
    esterror: int = 20,
    freq: int = 0,
    tick: int = 10_000,
) -> TimexReading:
    return TimexReading(state, offset, freq, maxerror, esterror, status, tick, 37)


@pytest.mark.parametrize(
    ("offset", "status", "offset_ns"),
    [
        (1_234_567, PLL | STA_NANO, 1_234_567),
        (-1_234_567, PLL | STA_NANO, -1_234_567),
        (1_234, PLL, 1_234_000),
        (-1_234, PLL, -1_234_000),
        (0, PLL, 0),
        (MAX_OFFSET_NS, STA_NANO, MAX_OFFSET_NS),
        (-MAX_OFFSET_NS, STA_NANO, -MAX_OFFSET_NS),
        (500_000, 0, MAX_OFFSET_NS),
    ],
)
def test_the_status_says_the_unit(offset: int, status: int, offset_ns: int) -> None:
    """Nanoseconds with STA_NANO, microseconds without, whatever the value looks like."""
    timex = Timex.parse(reading(offset, status))
    assert timex.offset_ns == offset_ns
    assert timex.rejected == 0


@pytest.mark.parametrize(
    ("offset", "status"),
    [
        (4_294_967_296, STA_NANO),
        (-4_294_967_296, STA_NANO),
        (4_294_967, 0),
        (-4_294_967, 0),
        (MAX_OFFSET_NS + 1, STA_NANO),
        (-MAX_OFFSET_NS - 1, STA_NANO),
        (500_001, 0),
    ],
)
def test_an_offset_the_kernel_cannot_have_is_rejected(offset: int, status: int) -> None:
    """It clamps its own to half a second; 2^32 ns is an artefact, and only it is left out."""
    timex = Timex.parse(reading(offset, status))
    assert timex.offset_ns is None
    assert timex.rejected == 1
    assert (timex.estimated_error_ns, timex.max_error_ns) == (20_000, 500_000)


def test_errors_are_microseconds_always() -> None:
    """STA_NANO changes the offset's unit and no other."""
    for status in (PLL, PLL | STA_NANO):
        timex = Timex.parse(reading(status=status, maxerror=16_000_000, esterror=3))
        assert (timex.estimated_error_ns, timex.max_error_ns) == (3_000, 16_000_000_000)


def test_negative_errors_are_rejected() -> None:
    """An error is a distance."""
    timex = Timex.parse(reading(maxerror=-1, esterror=-2))
    assert (timex.estimated_error_ns, timex.max_error_ns, timex.rejected) == (None, None, 2)


@pytest.mark.parametrize(
    ("state", "status", "synchronized"),
    [
        (0, PLL, True),
        (1, PLL, True),
        (TIME_ERROR, PLL, False),
        (0, PLL | STA_UNSYNC, False),
        (0, PLL | STA_CLOCKERR, False),
        (TIME_ERROR, STA_UNSYNC, False),
    ],
)
def test_synchronized(state: int, status: int, synchronized: bool) -> None:
    """By the call's result and by the status; a pending leap second is no error."""
    assert Timex.parse(reading(state=state, status=status)).synchronized is synchronized


@pytest.mark.parametrize(
    ("freq", "tick", "ratio"),
    [
        (0, 10_000, 1.0),
        (65_536, 10_000, 1 + 1e-6),
        (-32_768_000, 10_000, 1 - 500e-6),
        (0, 10_001, 1 + 1e-4),
        (-65_536 * 7, 9_999, 1 - 1e-4 - 7e-6),
    ],
)
def test_frequency(freq: int, tick: int, ratio: float) -> None:
    """Tick and frequency both make the clock run faster."""
    assert Timex.parse(reading(freq=freq, tick=tick)).frequency_ratio == pytest.approx(
        ratio, abs=1e-12
    )


def test_drift() -> None:
    """A clock's gain over the reference's time, without a bias from their offsets."""
    far = 1_700_000_000_000_000_000
    result = drift((5, {"a": far, "b": 0}), (5 + 10**10, {"a": far + 10**10 + 500, "b": 10**10}))
    assert result is not None
    assert result.window_ns == 10**10
    assert result.ratios == {"a": 5e-8, "b": 0.0}


def test_drift_of_no_time() -> None:
    """Where the reference stands or goes back nothing can be said."""
    assert drift((5, {"a": 1}), (5, {"a": 2})) is None
    assert drift((5, {"a": 1}), (4, {"a": 2})) is None


def test_steps_add_up_by_direction() -> None:
    """Forward and backward never cancel out."""
    steps = Steps().stepped(3_000).stepped(-5_000).stepped(0).stepped(7)
    assert steps == Steps(count=4, forward_ns=3_007, backward_ns=5_000, last_ns=7)


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("KVM virtual PTP", "ptp_kvm"),
        ("vmclock0", "ptp_vmclock0"),
        ("mlx5_ptp", ""),
        ("igb-eth0", ""),
        ("", ""),
    ],
)
def test_whose_clock(name: str, source: str) -> None:
    """Only what the hypervisor provides is its clock."""
    assert PtpDevice("ptp3", name).host_clock == source


def test_the_shortest_round_trip_wins() -> None:
    """The offset is from the middle of it, the uncertainty half of it."""
    samples = [(1000, 5000, 1900), (2000, 6075, 2101), (3000, 9000, 5000)]
    assert ptp_offset(samples, PtpMethod.EXTENDED) == PtpOffset(6075, 2050, 51, PtpMethod.EXTENDED)


def test_offset_sign() -> None:
    """Positive: the device is ahead."""
    assert PtpOffset(150, 100, 1, PtpMethod.PRECISE).offset_ns == 50
    assert PtpOffset(100, 150, 1, PtpMethod.PRECISE).offset_ns == -50


def test_a_clock_set_back_meanwhile() -> None:
    """Such a round trip is left out; without another there is no offset."""
    back = (5000, 100, 4000)
    assert ptp_offset([back, back], PtpMethod.SIMPLE) is None
    best = ptp_offset([back, (10, 30, 20)], PtpMethod.SIMPLE)
    assert best == PtpOffset(30, 15, 5, PtpMethod.SIMPLE)


def test_tsc_features() -> None:
    """Invariant only if it neither changes its rate nor stops."""
    features = tsc_features(frozenset({"tsc", "constant_tsc", "tsc_deadline_timer"}))
    assert [name for name, has in features.items() if has] == ["constant", "deadline_timer"]
    features = tsc_features(frozenset({"tsc", "constant_tsc", "nonstop_tsc"}))
    assert [name for name, has in features.items() if has] == ["constant", "nonstop", "invariant"]


def test_no_tsc() -> None:
    """Another architecture has no such counter, and no features that it lacks."""
    assert tsc_features(frozenset({"fp", "asimd", "evtstrm"})) == {}
