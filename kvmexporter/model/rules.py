# SPDX-License-Identifier: Apache-2.0
"""The one list of rules: `--ignore`, docs/findings.md and the contract tests use it."""

from collections.abc import Mapping

from kvmexporter.model import (
    balloon_findings,
    clock_findings,
    device_findings,
    disk_findings,
    exit_findings,
    guest_findings,
    memory_findings,
    offload_findings,
    processor_findings,
    vm_clock_findings,
)
from kvmexporter.model.findings import Rule

# Heading in the document → the rules of that subject.
SUBJECTS: Mapping[str, tuple[Rule, ...]] = {
    "Clocks": clock_findings.RULES + vm_clock_findings.RULES,
    "Devices": device_findings.RULES,
    "Disks": disk_findings.RULES,
    "Exits": exit_findings.RULES,
    "Network of the host": offload_findings.RULES,
    "Processors": processor_findings.RULES,
    "Balloons": balloon_findings.RULES,
    "Memory": memory_findings.RULES,
    "Inside a guest": guest_findings.RULES,
}
RULES: Mapping[str, Rule] = {rule.id: rule for rules in SUBJECTS.values() for rule in rules}
