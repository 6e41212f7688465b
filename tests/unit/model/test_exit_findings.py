# SPDX-License-Identifier: Apache-2.0
"""Advice on devices that cause many exits: when it is given, and when it is not."""

import pytest

from kvmexporter.model.exit_findings import storms
from kvmexporter.model.io import IoTarget

HPET = IoTarget("hpet", "hpet", "emulated")


@pytest.mark.parametrize(
    ("rate", "expected"),
    [
        (0.0, []),
        (9_999.9, []),
        (10_000.0, [("exit-storm", "warning")]),
        (49_999.0, [("exit-storm", "warning")]),
        (50_000.0, [("exit-storm", "critical")]),
    ],
)
def test_storms(rate: float, expected: list[tuple[str, str]]) -> None:
    """From ten thousand a second on; each device by itself."""
    found = list(storms("web", {HPET: rate, IoTarget("rtc", "rtc", "emulated"): 9_000.0}))
    assert [(one.rule, one.severity.value) for one in found] == expected
    for one in found:
        assert (one.vm, one.subject) == ("web", "hpet")
        assert one.seen == f"{rate:,.0f} exits to the VMM a second (hpet, emulated)"
