# SPDX-License-Identifier: Apache-2.0
"""A VM's timers and clocks, from raw numbers to named ones."""

import calendar
from typing import Any

import pytest

from kvmexporter.bpf.request import HISTOGRAM_BUCKETS
from kvmexporter.model.vm_clocks import (
    AgentTime,
    Rtc,
    agent_time,
    clock_mode_name,
    offset_spread,
    rtc,
    vm_timers,
)
from tests.unit.vcpu_records import counters, enumerators

SECOND = 1_000_000_000


def test_timers_are_named_as_the_c_counts_them() -> None:
    """Each index of the record means what the C's enumerations say."""
    assert enumerators()["timer_arm"] == ("TIMER_TSC_DEADLINE", "TIMER_COUNT", "TIMER_ARMS")
    states = ("HV_TIMER_HARDWARE", "HV_TIMER_SOFTWARE", "HV_TIMER_STATES")
    assert enumerators()["hv_timer_state"] == states
    timers = vm_timers(
        counters(
            timer_arms={0: 2, 1: 3},
            hv_timer={0: 5, 1: 7},
            timer_early={0: 11},
            timer_early_ns={0: 13},
            timer_lateness={0: 11, 4: 17, HISTOGRAM_BUCKETS: 19},
        )
    )
    assert (timers.deadline_arms, timers.count_arms) == (2, 3)
    assert (timers.hardware, timers.software) == (5, 7)
    assert (timers.early, timers.early_ns) == (11, 13)
    assert (timers.lateness.count, timers.lateness.sum_ns) == (28, 19)


@pytest.mark.parametrize(
    ("offsets", "spread"),
    [
        ((), None),
        ((17,), 0),
        ((17, 17, 17), 0),
        ((17, 28, 10), 18),
        ((5, (1 << 64) - 6), 11),  # on both sides of 0
        ((1 << 63, (1 << 63) - 3), 3),
        ((0, (1 << 63) - 1), (1 << 63) - 1),
        ((1, (1 << 64) - 1, 4, (1 << 64) - 7), 11),
    ],
)
def test_offset_spread(offsets: tuple[int, ...], spread: int | None) -> None:
    """The distance between the outermost offsets, which are modulo 2^64."""
    assert offset_spread(offsets) == spread


def test_clock_modes() -> None:
    """Known ones by name, others by number."""
    names = [clock_mode_name(mode) for mode in range(5)]
    assert names == ["none", "tsc", "pvclock", "hvclock", "unknown:4"]


def tm(**changed: Any) -> dict[str, Any]:
    """2026-11-22 19:49:02, as QEMU tells it."""
    known = {
        "tm_year": 126, "tm_mon": 10, "tm_mday": 22, "tm_hour": 19, "tm_min": 49, "tm_sec": 2,
    }  # fmt: skip
    return known | changed


def test_rtc() -> None:
    """A clock of whole seconds is right by half a second, and by half of what asking took."""
    host = calendar.timegm((2026, 11, 22, 19, 49, 2)) * SECOND + 700_000_000
    assert rtc(tm(), host, host + 2_000_000) == Rtc(-201_000_000, 501_000_000)
    assert rtc(tm(tm_hour=20), host, host).offset_ns == 3600 * SECOND - 200_000_000


@pytest.mark.parametrize(
    "wrong",
    [{"tm_mon": 12}, {"tm_mon": -1}, {"tm_year": -1}, {"tm_year": 1 << 40}, {"tm_sec": "x"}],
)
def test_what_is_no_time(wrong: dict[str, Any]) -> None:
    """A VMM may say anything; what is no date is refused."""
    with pytest.raises((ValueError, OverflowError)):
        rtc(tm(**wrong), 0, 0)


def test_rtc_incomplete() -> None:
    """A part that is missing is not guessed."""
    with pytest.raises(KeyError):
        rtc({"tm_year": 126}, 0, 0)


def test_rtc_moved() -> None:
    """Only by more than both readings may be wrong."""
    first = Rtc(0, 500_000_000)
    assert not Rtc(990_000_000, 500_000_000).moved(first)
    assert Rtc(3 * SECOND, 500_000_000).moved(first)
    assert Rtc(-3 * SECOND, 500_000_000).moved(first)


def test_agent_time() -> None:
    """The shortest round trip is believed, by half of its length."""
    slow, fast = (100, 5_000, 900), (1_000, 6_100, 1_201)
    assert agent_time([slow, fast]) == AgentTime(6_100 - 1_100, 101)
