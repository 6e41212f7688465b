# SPDX-License-Identifier: Apache-2.0
"""Advice on the host's memory: each rule where it should fire, and where it should not."""

from collections.abc import Iterable

import pytest

from kvmexporter.model import memory_findings
from kvmexporter.model.findings import Finding, Severity
from kvmexporter.model.memory import HostMemory, Ksm, ProcessMemory

GIB = 1 << 30
MIB = 1 << 20


def rules(found: Iterable[Finding]) -> list[tuple[str, Severity]]:
    return [(one.rule, one.severity) for one in found]


@pytest.mark.parametrize(
    ("promised", "swap", "severity"),
    [
        (16 * GIB, 0, None),
        (16 * GIB + 1, 0, Severity.WARNING),
        (16 * GIB + 1, GIB, Severity.INFO),
        (17 * GIB, GIB, Severity.INFO),
        (17 * GIB + 1, GIB, Severity.WARNING),
    ],
)
def test_overcommitted(promised: int, swap: int, severity: Severity | None) -> None:
    """More than there is; worse than what swap can hold."""
    host = HostMemory(16 * GIB, GIB, swap, promised)
    expected = [("host-memory-overcommitted", severity)] if severity else []
    assert rules(memory_findings.overcommitted(host, None)) == expected


def test_overcommitted_says_how_it_stands() -> None:
    """With what each way of taking memory back gives, and what is not known."""
    host = HostMemory(16 * GIB, GIB, 0, 24 * GIB, unknown=3, ballooned=2 * GIB)
    (found,) = memory_findings.overcommitted(host, Ksm(1, 0, GIB, 0, 0, None, 5))
    assert found.seen == (
        "VMs can take 24.0 GiB (3 more do not tell); the host has 16.0 GiB and 0.0 GiB of swap; "
        "balloons hold 2.0 GiB and KSM saves 1.0 GiB"
    )


def test_a_host_that_does_not_tell() -> None:
    """Nothing is said of it."""
    assert rules(memory_findings.overcommitted(HostMemory(0, 0, 0, GIB), None)) == []


@pytest.mark.parametrize(("swapped", "fires"), [(16 * MIB, True), (16 * MIB - 1, False)])
def test_swapped(swapped: int, fires: bool) -> None:
    """From an amount on that is not what any large process has there."""
    process = ProcessMemory({"swapped": swapped})
    expected = [("vm-memory-swapped", Severity.WARNING)] if fires else []
    assert rules(memory_findings.swapped("web", process)) == expected
    assert rules(memory_findings.swapped("web", ProcessMemory({}))) == []


@pytest.mark.parametrize(
    ("run", "profit", "scans", "fires"),
    [
        (1, 0, 3, True),
        (1, -640, 3, True),
        (1, 4096, 3, False),
        (1, -640, 2, False),
        (0, -640, 3, False),
        (2, -640, 3, False),
    ],
)
def test_ksm_without_profit(run: int, profit: int, scans: int, fires: bool) -> None:
    """While it runs, and once it has had its chance."""
    expected = [("host-ksm-no-profit", Severity.INFO)] if fires else []
    found = memory_findings.ksm_without_profit(Ksm(run, 0, 0, 0, 0, profit, scans))
    assert rules(found) == expected
