# SPDX-License-Identifier: Apache-2.0
"""The kernel's words on clocksources."""

import pytest

from kvmexporter.model.clock_messages import (
    MarkedUnstable,
    Message,
    Switched,
    TscFrequency,
    parse,
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clocksource: Switched to clocksource kvm-clock", Switched("kvm-clock")),
        ("clocksource: Switched to clocksource hpet", Switched("hpet")),
        (
            "clocksource: timekeeping watchdog on CPU3: Marking clocksource 'tsc' as unstable "
            "because the skew is too large:",
            MarkedUnstable("tsc", ""),
        ),
        (
            "tsc: Marking TSC unstable due to clocksource watchdog",
            MarkedUnstable("tsc", "clocksource watchdog"),
        ),
        (
            "tsc: Marking TSC unstable due to check_tsc_sync_source failed",
            MarkedUnstable("tsc", "check_tsc_sync_source failed"),
        ),
        ("tsc: Detected 2596.142 MHz processor", TscFrequency(2_596_142_000)),
        ("tsc: Detected 2600.000 MHz TSC", TscFrequency(2_600_000_000)),
        (
            "tsc: Refined TSC clocksource calibration: 3693.061 MHz",
            TscFrequency(3_693_061_000),
        ),
        ("clocksource: tsc: mask: 0xffffffffffffffff max_cycles: 0x256bff54918", None),
        ("user said: clocksource: Switched to clocksource hpet", None),
        ("clocksource: Switched to clocksource", None),
        ("tsc: Fast TSC calibration using PIT", None),
        ("", None),
    ],
)
def test_parse(text: str, message: Message | None) -> None:
    """Each message that matters, and none that only looks like one."""
    assert parse(text) == message


def test_bounded() -> None:
    """No message makes a label longer than a clocksource's name or a short sentence."""
    switched = parse("clocksource: Switched to clocksource " + "x" * 5000)
    unstable = parse("tsc: Marking TSC unstable due to " + "y" * 5000)
    assert switched == Switched("x" * 32)
    assert unstable == MarkedUnstable("tsc", "y" * 80)
