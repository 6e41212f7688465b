# SPDX-License-Identifier: Apache-2.0
"""Advice on clocks: when it is given, and when it is not."""

from collections.abc import Iterable, Mapping

import pytest

from kvmexporter.model import clock_findings
from kvmexporter.model.clocks import (
    ClocksourceHistory,
    Clocksources,
    PtpMethod,
    PtpOffset,
    Steps,
    Timex,
    tsc_features,
)
from kvmexporter.model.findings import Finding

SECOND = 10**9
CALM = ClocksourceHistory({}, {}, "kernel_log")
INVARIANT = tsc_features(frozenset({"tsc", "constant_tsc", "nonstop_tsc"}))


def told(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    """Rules with their severity; every part of each is filled in."""
    found = list(findings)
    for finding in found:
        assert finding.vm == ""
        assert all((finding.subject, finding.seen, finding.matters, finding.remedy))
    return [(finding.rule, finding.severity.value) for finding in found]


@pytest.mark.parametrize(
    ("current", "available", "features", "expected"),
    [
        ("tsc", ("tsc", "hpet"), INVARIANT, []),
        ("hpet", ("tsc", "hpet"), INVARIANT, [("host-clocksource-not-tsc", "critical")]),
        ("acpi_pm", ("acpi_pm",), INVARIANT, [("host-clocksource-not-tsc", "critical")]),
        ("kvm-clock", ("kvm-clock", "tsc"), INVARIANT, [("host-clocksource-not-tsc", "warning")]),
        ("hyperv_clocksource_tsc_page", ("hyperv_clocksource_tsc_page",), INVARIANT, []),
        ("arch_sys_counter", ("arch_sys_counter",), {}, []),
    ],
)
def test_host_clocksource(
    current: str,
    available: tuple[str, ...],
    features: Mapping[str, bool],
    expected: list[tuple[str, str]],
) -> None:
    """The TSC wherever there is one, or what Hyper-V makes of it."""
    clocksources = Clocksources(current, available)
    assert told(clock_findings.host_clocksource(clocksources, CALM, features)) == expected


def test_the_remedy_fits_the_host() -> None:
    """Switch back where the kernel allows it; look for the reason where it does not."""
    (finding,) = clock_findings.host_clocksource(
        Clocksources("hpet", ("tsc", "hpet")), CALM, INVARIANT
    )
    assert finding.remedy.startswith("on the host: echo tsc > /sys/")
    unstable = ClocksourceHistory({}, {"tsc": "clocksource watchdog"}, "kernel_log")
    (finding,) = clock_findings.host_clocksource(
        Clocksources("hpet", ("hpet",)), unstable, INVARIANT
    )
    assert finding.remedy.startswith("on the host: dmesg")
    assert finding.seen.endswith("the kernel marked tsc unstable due to clocksource watchdog")


def test_a_change_is_told_after_it_was_undone() -> None:
    """From, to, and how often."""
    history = ClocksourceHistory({("tsc", "hpet"): 2, ("hpet", "tsc"): 1}, {}, "kernel_log")
    (finding,) = clock_findings.host_clocksource(
        Clocksources("tsc", ("tsc", "hpet")), history, INVARIANT
    )
    assert finding.rule == "host-clocksource-changed"
    assert finding.seen == "the clocksource changed: tsc to hpet 2 times, hpet to tsc"


@pytest.mark.parametrize(
    ("flags", "seen"),
    [
        ({"tsc", "constant_tsc", "nonstop_tsc"}, None),
        ({"tsc", "constant_tsc"}, "is not nonstop"),
        ({"tsc"}, "is not constant and not nonstop"),
        ({"fp"}, None),
    ],
)
def test_host_tsc(flags: set[str], seen: str | None) -> None:
    """What it lacks is named; no advice where there is no TSC."""
    found = list(clock_findings.host_tsc(tsc_features(frozenset(flags))))
    assert told(found) == ([("host-tsc-not-invariant", "warning")] if seen else [])
    assert all(finding.seen.endswith(seen or "") for finding in found)


@pytest.mark.parametrize(
    ("whose", "rule"),
    [("host", "host-clock-unsynchronized"), ("guest", "guest-clock-unsynchronized")],
)
def test_synchronization(whose: str, rule: str) -> None:
    """With the greatest possible error, if that is known."""
    fine = Timex(True, 0, 0, 16 * SECOND, 1.0, 0, 0)
    assert told(clock_findings.synchronization(fine, whose)) == []
    lost = Timex(False, 0, 0, 16 * SECOND, 1.0, 0, 0)
    (finding,) = clock_findings.synchronization(lost, whose)
    assert finding.rule == rule
    assert finding.seen.endswith("is 16 s")
    unknown = Timex(False, None, None, None, 1.0, 0, 3)
    (finding,) = clock_findings.synchronization(unknown, whose)
    assert finding.seen.endswith("is unknown")


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (Steps(), []),
        (Steps(7, 400_000, 599_999, -1), []),
        (Steps(1, 1_000_000, 0, 1_000_000), [("host-clock-stepped", "warning")]),
        (Steps(2, 3 * SECOND, 3 * SECOND, -3 * SECOND), [("host-clock-stepped", "warning")]),
    ],
)
def test_stepped(steps: Steps, expected: list[tuple[str, str]]) -> None:
    """From a millisecond on, forward and backward together; a guest's just so."""
    assert told(clock_findings.stepped(steps, "host")) == expected
    of_guest = [("guest-clock-stepped", severity) for _, severity in expected]
    assert told(clock_findings.stepped(steps, "guest")) == of_guest


@pytest.mark.parametrize(
    ("current", "features", "expected"),
    [
        ("kvm-clock", {"kvmclock": True}, []),
        ("tsc", {"kvmclock": True}, []),
        ("tsc", {}, []),
        ("arch_sys_counter", {}, []),
        ("hyperv_clocksource_tsc_page", {}, []),
        ("tsc", {"kvmclock": False}, [("guest-kvmclock-hidden", "info")]),
        ("hpet", {}, [("guest-clocksource", "critical")]),
        (
            "acpi_pm",
            {"kvmclock": False},
            [("guest-clocksource", "critical"), ("guest-kvmclock-hidden", "warning")],
        ),
    ],
)
def test_guest_clocksource(
    current: str, features: Mapping[str, bool], expected: list[tuple[str, str]]
) -> None:
    """kvm-clock or the TSC; a hidden kvm-clock weighs less on the TSC."""
    found = clock_findings.guest_clocksource(Clocksources(current, (current,)), features)
    assert told(found) == expected


def test_a_better_clocksource_is_at_hand() -> None:
    """Then the guest itself can mend it."""
    (finding,) = clock_findings.guest_clocksource(
        Clocksources("acpi_pm", ("acpi_pm", "tsc", "kvm-clock")), {}
    )
    assert finding.remedy == (
        "in the guest: echo kvm-clock > "
        "/sys/devices/system/clocksource/clocksource0/current_clocksource"
    )


@pytest.mark.parametrize(
    ("devices", "seen"),
    [
        ({}, None),
        ({0: "lapic-deadline", 1: "lapic-deadline"}, None),
        ({0: "arch_sys_timer"}, None),
        ({0: "lapic", 1: "lapic"}, "this guest's timer is lapic, not lapic-deadline"),
        (
            {0: "lapic-deadline", 1: "lapic", 2: "hpet"},
            "this guest's timer is hpet, lapic, not lapic-deadline",
        ),
    ],
)
def test_guest_clockevents(devices: Mapping[int, str], seen: str | None) -> None:
    """One CPU without it is enough."""
    found = list(clock_findings.guest_clockevents(devices))
    assert told(found) == ([("guest-clockevent-not-deadline", "warning")] if seen else [])
    assert [finding.seen for finding in found] == ([seen] if seen else [])


@pytest.mark.parametrize(
    ("ahead_ns", "uncertainty_ns", "severity", "direction"),
    [
        (0, 1, None, ""),
        (1_000_000, 1, None, ""),
        (-1_000_000, 1, None, ""),
        (1_000_001, 1, "warning", "0.001000 s ahead of"),
        (-1_000_001, 1, "warning", "0.001000 s behind"),
        (5_000_000, 5_000_000, None, ""),
        (SECOND, 1, "warning", "1.000000 s ahead of"),
        (-61 * SECOND, 1, "critical", "61.000000 s behind"),
        (61 * SECOND, 62 * SECOND, None, ""),
    ],
)
def test_guest_offset(
    ahead_ns: int, uncertainty_ns: int, severity: str | None, direction: str
) -> None:
    """Beyond a millisecond and beyond what the measuring explains; a second is critical."""
    now = 1_790_000_000 * SECOND
    offset = PtpOffset(now, now + ahead_ns, uncertainty_ns, PtpMethod.SIMPLE)
    found = list(clock_findings.guest_offset("ptp_kvm", offset))
    assert told(found) == ([("guest-clock-offset", severity)] if severity else [])
    assert all(f"clock is {direction} its host's" in finding.seen for finding in found)


def test_guest_without_host_clock() -> None:
    """Worse if there is one that cannot be read."""
    assert told(clock_findings.guest_without_host_clock(())) == [
        ("guest-without-host-clock", "info")
    ]
    (finding,) = clock_findings.guest_without_host_clock(("ptp0: Permission denied",))
    assert (finding.severity.value, finding.seen) == ("warning", "ptp0: Permission denied")


@pytest.mark.parametrize(
    ("status", "count"),
    [("synchronized", 0), ("unknown", 0), ("initializing", 0), ("freerunning", 1),
     ("unreliable", 1)],
)  # fmt: skip
def test_vmclock_status(status: str, count: int) -> None:
    """Only a clock that the hypervisor itself does not trust."""
    found = told(clock_findings.vmclock_status("vmclock0", status))
    assert found == [("guest-vmclock-unreliable", "warning")] * count
