# SPDX-License-Identifier: Apache-2.0
"""Advice on balloons: each rule where it should fire, and where it should not."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from kvmexporter.model import balloon_findings
from kvmexporter.model.balloon import Balloon
from kvmexporter.model.findings import Finding, Severity
from tests.unit.balloons import ALL_OFFERED, MIB, balloon, observed

SCARCE = {"total-memory": 250 * MIB, "available-memory": 12 * MIB}
ENOUGH = {"total-memory": 250 * MIB, "available-memory": 13 * MIB}
JUST_ENOUGH = {"total-memory": 100 * MIB, "available-memory": 5 * MIB}
SHORT = ((200, 128), (200, 128))
OFF = {"deflate-on-oom": False, "free-page-reporting": False}


def rules(found: Iterable[Finding]) -> list[tuple[str, Severity]]:
    findings = list(found)
    for one in findings:
        assert one.vm == "web"
        assert one.seen
        assert one.matters
        assert one.remedy
    return [(one.rule, one.severity) for one in findings]


@pytest.mark.parametrize(
    ("found", "fires"),
    [
        (observed(*SHORT), True),
        (observed(*SHORT, (200, 64)), False),
        (observed((200, 128)), False),
        (observed(*SHORT, seconds=9.0), False),
        (observed((200, 128), (180, 128)), False),
        (observed((128, 128), (128, 128)), False),
        (observed((128, 256), (128, 256)), False),
        (observed((200, None), (200, None)), False),
    ],
)
def test_stuck(found: Balloon, fires: bool) -> None:
    """Once it has been short for a while and got no nearer."""
    expected = [("balloon-stuck", Severity.WARNING)] if fires else []
    assert rules(balloon_findings.stuck("web", found)) == expected


def test_stuck_says_why() -> None:
    """How much, how long, and what is known of the reason."""
    (finding,) = balloon_findings.stuck("web", observed(*SHORT))
    assert finding.seen == "the guest has 200 MiB and should have 128 MiB: 72 MiB too much for 10 s"
    assert "setmem" in finding.remedy
    (finding,) = balloon_findings.stuck("web", observed(*SHORT, driven=False))
    assert "no driver" in finding.seen
    assert finding.remedy == "in the guest: modprobe virtio_balloon"
    (finding,) = balloon_findings.stuck("web", observed(*SHORT, offered=ALL_OFFERED))
    assert "taken it back" in finding.seen


@pytest.mark.parametrize(
    ("found", "age", "severity"),
    [
        (balloon(128, stats=SCARCE, polling_seconds=5), 3.0, Severity.CRITICAL),
        (balloon(128, stats=SCARCE, polling_seconds=5, offered=OFF), 3.0, Severity.CRITICAL),
        (balloon(128, stats=SCARCE, polling_seconds=5, offered=ALL_OFFERED), 3.0, Severity.WARNING),
        (balloon(128, stats=ENOUGH, polling_seconds=5), 3.0, None),
        (balloon(256, stats=SCARCE, polling_seconds=5), 3.0, None),
        (balloon(128, stats=SCARCE, polling_seconds=5), 60.0, None),
        (balloon(128, stats=SCARCE, polling_seconds=0), 60.0, None),
        (balloon(128, stats={}, polling_seconds=5), None, None),
        (balloon(255, stats=SCARCE, polling_seconds=5), 3.0, Severity.CRITICAL),
        (balloon(128, stats=JUST_ENOUGH, polling_seconds=5), 3.0, None),
        (balloon(128, stats=SCARCE, polling_seconds=5), 25.0, Severity.CRITICAL),
        (balloon(128, stats=SCARCE, polling_seconds=5), 25.5, None),
    ],
)
def test_oom_risk(found: Balloon, age: float | None, severity: Severity | None) -> None:
    """While fresh numbers say so and the balloon holds something."""
    expected = [("balloon-oom-risk", severity)] if severity else []
    assert rules(balloon_findings.oom_risk("web", found, age)) == expected


def test_guests_that_do_not_tell_what_is_available() -> None:
    """Older ones tell what is free."""
    found = balloon(128, stats={"total-memory": 250 * MIB, "free-memory": MIB}, polling_seconds=5)
    assert rules(balloon_findings.oom_risk("web", found, 1.0))


def _swapped(mib: float, actual: int = 128, later: float = 0.0) -> Balloon:
    found = None
    for number, amount in enumerate((0, mib, mib)):
        now = 1000.0 + number + (later if number == 2 else 0.0)
        found = balloon(actual, stats={"swap-in": 0, "swap-out": int(amount * MIB)}).after(
            found, now
        )
    assert found
    return found


@pytest.mark.parametrize(
    ("found", "fires"),
    [
        (_swapped(7), True),
        (_swapped(7, later=119.0), True),
        (_swapped(7, later=119.5), False),
        (_swapped(0), False),
        (_swapped(7, actual=256), False),
        (_swapped(7, actual=255), True),
        (_swapped(1), True),
        (_swapped(0.9), False),
    ],
)
def test_swapping(found: Balloon, fires: bool) -> None:
    """While the balloon holds what would have made it needless."""
    expected = [("balloon-guest-swapping", Severity.WARNING)] if fires else []
    assert rules(balloon_findings.swapping("web", found)) == expected


@pytest.mark.parametrize(
    ("found", "severity"),
    [
        (balloon(256, offered=OFF), Severity.INFO),
        (balloon(128, offered=OFF), Severity.WARNING),
        (balloon(255, offered=OFF), Severity.WARNING),
        (balloon(128, offered=ALL_OFFERED), None),
        (balloon(128), None),
    ],
)
def test_without_deflate_on_oom(found: Balloon, severity: Severity | None) -> None:
    """Worse when there is something to deflate; not where it is not known."""
    expected = [("balloon-no-deflate-on-oom", severity)] if severity else []
    assert rules(balloon_findings.without_deflate_on_oom("web", found)) == expected


@pytest.mark.parametrize(
    ("polling", "age", "expected"),
    [
        (0, None, [("balloon-statistics-off", Severity.INFO)]),
        (0, 3600.0, [("balloon-statistics-off", Severity.INFO)]),
        (5, 25.0, []),
        (5, 26.0, [("balloon-statistics-stale", Severity.WARNING)]),
        (5, None, [("balloon-statistics-stale", Severity.WARNING)]),
        (None, None, []),
    ],
)
def test_statistics(
    polling: int | None, age: float | None, expected: list[tuple[str, Severity]]
) -> None:
    """Nobody asks, or the guest does not answer."""
    found = balloon(polling_seconds=polling)
    assert rules(balloon_findings.statistics("web", found, age)) == expected


@pytest.mark.parametrize(
    ("finding", "seen"),
    [
        (
            balloon_findings.without_deflate_on_oom("web", balloon(128, offered=OFF)),
            "deflate-on-oom is off, and the balloon holds 128 MiB",
        ),
        (
            balloon_findings.without_deflate_on_oom("web", balloon(256, offered=OFF)),
            "deflate-on-oom is off, and the balloon is empty",
        ),
        (
            balloon_findings.statistics("web", balloon(polling_seconds=0), None),
            "nobody asks the guest for its memory statistics",
        ),
        (
            balloon_findings.statistics("web", balloon(polling_seconds=0), 90.0),
            "nobody asks the guest for its memory statistics; they are 90 s old",
        ),
        (
            balloon_findings.statistics("web", balloon(polling_seconds=5), None),
            "the guest is asked for its memory statistics every 5 s and never gave any",
        ),
        (
            balloon_findings.statistics("web", balloon(polling_seconds=5), 90.0),
            "the guest is asked for its memory statistics every 5 s and gave the last ones 90 s "
            "ago",
        ),
    ],
)
def test_what_was_seen(finding: Iterable[Finding], seen: str) -> None:
    """In numbers."""
    assert [one.seen for one in finding] == [seen]


def test_the_way_out_of_want() -> None:
    """deflate-on-oom is told of where it is not on."""
    for offered, told in ((OFF, True), (ALL_OFFERED, False)):
        found = balloon(128, stats=SCARCE, polling_seconds=5, offered=offered)
        (finding,) = balloon_findings.oom_risk("web", found, 3.0)
        assert ("autodeflate" in finding.remedy) == told
        assert "setmem" in finding.remedy


def test_statistics_that_libvirt_has() -> None:
    """Where libvirt alone asks the guest, nothing is known of how it answers."""
    asked = replace(balloon(polling_seconds=5), asked=False)
    assert rules(balloon_findings.statistics("web", asked, None)) == []
    never = replace(balloon(polling_seconds=0), asked=False)
    assert rules(balloon_findings.statistics("web", never, None)) == [
        ("balloon-statistics-off", Severity.INFO)
    ]


def test_without_reporting() -> None:
    """Off; not where it is on, nor where it is not known."""
    fires = [("balloon-no-free-page-reporting", Severity.INFO)]
    assert rules(balloon_findings.without_reporting("web", balloon(offered=OFF))) == fires
    assert rules(balloon_findings.without_reporting("web", balloon(offered=ALL_OFFERED))) == []
    assert rules(balloon_findings.without_reporting("web", balloon())) == []
