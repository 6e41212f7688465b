# SPDX-License-Identifier: Apache-2.0
"""Findings for people: what many VMs have in common is told once."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from kvmexporter.model.amounts import amount
from kvmexporter.model.findings import Finding, Severity, worst_first

_MOST_SUBJECTS = 4


@dataclass(frozen=True, slots=True)
class Advice:
    """Findings of one rule with one reason and one remedy.

    Attributes:
        severity: how much it matters.
        rule: the rule's stable name.
        about: "VM web, net0" or, of several, "3 VMs, cpu".
        seen: the evidence, a line for what is the same.
        matters: why.
        remedy: what to change.
    """

    severity: Severity
    rule: str
    about: str
    seen: tuple[str, ...]
    matters: str
    remedy: str


def advice(findings: Iterable[Finding]) -> tuple[Advice, ...]:
    """All of it, worst first."""
    alike: defaultdict[tuple[Severity, str, str, str], list[Finding]] = defaultdict(list)
    for one in worst_first(findings):
        alike[one.severity, one.rule, one.matters, one.remedy].append(one)
    return tuple(
        Advice(severity, rule, _about(found), _seen(found), matters, remedy)
        for (severity, rule, matters, remedy), found in alike.items()
    )


def _about(found: Sequence[Finding]) -> str:
    vms = list(dict.fromkeys(one.vm for one in found))
    subjects = list(dict.fromkeys(one.subject for one in found))
    words = ", ".join(subjects[:_MOST_SUBJECTS])
    if len(subjects) > _MOST_SUBJECTS:
        words = f"{words} and {len(subjects) - _MOST_SUBJECTS} more"
    if len(vms) > 1:
        return f"{amount(len(vms), 'VM')}, {words}"
    return f"VM {vms[0]}, {words}" if vms[0] else words


def _seen(found: Sequence[Finding]) -> tuple[str, ...]:
    if len(found) == 1:
        return (found[0].seen,)
    # What all have in common is said above already.
    has_vm = len({one.vm for one in found}) > 1
    has_subject = len({one.subject for one in found}) > 1
    whose: defaultdict[str, list[str]] = defaultdict(list)
    for one in found:
        words = [one.vm] * has_vm + [one.subject] * has_subject
        whose[one.seen].append(" ".join(words))
    return tuple(f"{', '.join(names)}: {seen}" for seen, names in whose.items())
