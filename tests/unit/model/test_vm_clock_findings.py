# SPDX-License-Identifier: Apache-2.0
"""Advice on VMs' clocks: what is given, and when none is."""

import pytest

from kvmexporter.model.findings import Finding, Severity
from kvmexporter.model.vm_clock_findings import (
    agent_offset,
    cpu_features,
    master_clock,
    offset_spread,
)
from kvmexporter.model.vm_clocks import AgentTime, MasterClock

SECOND = 1_000_000_000


def rules(found: list[Finding]) -> list[tuple[str, Severity]]:
    for one in found:
        assert one.vm == "web"
        assert all((one.subject, one.seen, one.matters, one.remedy))
    return [(one.rule, one.severity) for one in found]


@pytest.mark.parametrize(("enabled", "advised"), [(None, False), (True, False), (False, True)])
def test_master_clock(enabled: bool | None, advised: bool) -> None:
    """Advice only where it is known to be off."""
    found = rules(list(master_clock("web", MasterClock(enabled, "tsc"))))
    assert found == ([("vm-master-clock-off", Severity.WARNING)] if advised else [])


def test_master_clock_remedy_follows_the_cause() -> None:
    """Where the host is not on its TSC, or Hyper-V's, it is to be mended, else the guest."""
    (host,) = master_clock("web", MasterClock(False, "none"))
    assert "host-clocksource-not-tsc" in host.remedy
    assert "read from none" in host.seen
    for host_clock in ("tsc", "hvclock"):
        (guest,) = master_clock("web", MasterClock(False, host_clock))
        assert "kvm_vm_tsc_offset_spread_seconds" in guest.remedy


@pytest.mark.parametrize(("seconds", "advised"), [(0.0, False), (5e-7, False), (0.25, True)])
def test_offset_spread(seconds: float, advised: bool) -> None:
    """Below a microsecond nobody notices."""
    found = rules(list(offset_spread("web", seconds)))
    assert found == ([("vm-tsc-offsets-differ", Severity.WARNING)] if advised else [])


def test_cpu_features() -> None:
    """One piece of advice for each that is hidden; what is not known is not judged."""
    assert list(cpu_features("web", {})) == []
    good = {"tsc-deadline": True, "invtsc": True, "kvmclock": True, "x2apic": False}
    assert list(cpu_features("web", good)) == []
    assert rules(list(cpu_features("web", dict.fromkeys(good, False)))) == [
        ("vm-tsc-deadline-hidden", Severity.WARNING),
        ("vm-invtsc-hidden", Severity.INFO),
        ("vm-kvmclock-hidden", Severity.WARNING),
    ]


@pytest.mark.parametrize(
    ("offset", "uncertainty", "expected"),
    [
        (0, 1000, None),
        (900_000, 1000, None),
        (5_000_000, 6_000_000, None),
        (-5_000_000, 1_000_000, Severity.WARNING),
        (SECOND + 500, 1000, Severity.WARNING),
        (5 * SECOND, 1_000_000, Severity.CRITICAL),
        (-365 * 86_400 * SECOND, 1_000_000, Severity.CRITICAL),
    ],
)
def test_agent_offset(offset: int, uncertainty: int, expected: Severity | None) -> None:
    """Only what the asking cannot explain, and the worse from a second on."""
    found = list(agent_offset("web", AgentTime(offset, uncertainty)))
    assert rules(found) == ([("vm-clock-offset", expected)] if expected else [])
    if found:
        assert ("behind" if offset < 0 else "ahead of") in found[0].seen
