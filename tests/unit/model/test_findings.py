# SPDX-License-Identifier: Apache-2.0
"""Rules, and the findings made by them."""

import pytest

from kvmexporter.model.findings import (
    Finding,
    Place,
    Remedy,
    Rule,
    Severity,
    qemu_and_libvirt,
    worst_first,
)

RULE = Rule(
    "slow-nic",
    "A slow NIC",
    (Severity.WARNING, Severity.INFO),
    "it is slow",
    (*qemu_and_libvirt("-device fast", "<model type='fast'/>"), Remedy(Place.HOST, "wait", "new")),
)


def test_the_worst_is_listed_first() -> None:
    """Severities are listed from the worst on, as views show them."""
    assert [str(one) for one in Severity] == ["critical", "warning", "info"]


def test_a_finding_has_its_rule_s_words() -> None:
    """The worst severity and every remedy, unless told otherwise."""
    assert RULE.finding("net0", "seen", vm="web") == Finding(
        rule="slow-nic",
        severity=Severity.WARNING,
        vm="web",
        subject="net0",
        seen="seen",
        matters="it is slow",
        remedy="QEMU: -device fast; libvirt: <model type='fast'/>; on the host: wait",
    )
    finding = RULE.finding("net0", "s", severity=Severity.INFO, remedies=RULE.remedies[2:])
    assert (finding.severity, finding.remedy, finding.vm) == ("info", "on the host: wait", "")


def test_nothing_that_the_rule_does_not_declare() -> None:
    """It would be missing from the document."""
    with pytest.raises(ValueError, match="slow-nic"):
        RULE.finding("net0", "seen", severity=Severity.CRITICAL)
    with pytest.raises(ValueError, match="slow-nic"):
        RULE.finding("net0", "seen", remedies=[Remedy(Place.HOST, "wait")])


def test_worst_first() -> None:
    """By severity, then the host, then VMs by name; else as given."""
    warning, info = RULE.severities
    given = [
        RULE.finding("3", "s", vm="b", severity=info),
        RULE.finding("1", "s", vm="b", severity=warning),
        RULE.finding("2", "s", severity=info),
        RULE.finding("0", "s", severity=warning),
        RULE.finding("4", "s", vm="b", severity=info),
    ]
    assert [one.subject for one in worst_first(given)] == ["0", "1", "2", "3", "4"]
