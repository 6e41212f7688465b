# SPDX-License-Identifier: Apache-2.0
"""Advice: what was seen, why it matters, and the change that mends it.

A rule is declared once, beside the function that judges by it, and listed in
`model/rules.py`; a finding is made by its rule alone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum


class Severity(StrEnum):
    """How much it matters, worst first."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One piece of advice.

    Attributes:
        rule: the rule's stable name.
        severity: how much it matters.
        vm: the VM's name, "" if it is about the host.
        subject: the device, clock or setting it is about.
        seen: the evidence.
        matters: why.
        remedy: what to change.
    """

    rule: str
    severity: Severity
    vm: str
    subject: str
    seen: str
    matters: str
    remedy: str


class Place(StrEnum):
    """Where a remedy is applied."""

    QEMU = "QEMU"
    LIBVIRT = "libvirt"
    HOST = "on the host"
    GUEST = "in the guest"


@dataclass(frozen=True, slots=True)
class Remedy:
    """One change that mends it.

    Attributes:
        place: where it is made.
        change: the option, the XML or the command.
        when: the case it is for, "" for every case.
    """

    place: Place
    change: str
    when: str = ""


def qemu_and_libvirt(option: str, xml: str) -> tuple[Remedy, Remedy]:
    """The same change for both: a QEMU option, and what to write in the domain's XML."""
    return Remedy(Place.QEMU, option), Remedy(Place.LIBVIRT, xml)


@dataclass(frozen=True, slots=True)
class Rule:
    """What is judged, and everything that is always true of it.

    Attributes:
        id: its stable name, in lower case with dashes.
        title: the state that it finds, in a few words.
        severities: what its findings may have, worst first.
        matters: why it matters.
        remedies: the changes that mend it; those with a `when` fit some findings only.
    """

    id: str
    title: str
    severities: tuple[Severity, ...]
    matters: str
    remedies: tuple[Remedy, ...]
    _all_remedies: str = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_all_remedies", _in_words(self.remedies))

    def finding(
        self,
        subject: str,
        seen: str,
        *,
        vm: str = "",
        severity: Severity | None = None,
        remedies: Sequence[Remedy] = (),
    ) -> Finding:
        """A finding of this rule.

        Args:
            subject: the device, clock or setting it is about.
            seen: the evidence.
            vm: the VM's name, "" if it is about this system.
            severity: one of the rule's; the worst if not given.
            remedies: those of the rule's that fit; all if not given.

        Raises:
            ValueError: the severity or a remedy is not the rule's, and so in no document.
        """
        severity = severity or self.severities[0]
        declared = severity in self.severities
        remedy = self._all_remedies
        if remedies:
            declared = declared and set(remedies) <= set(self.remedies)
            remedy = _in_words(remedies)
        if not declared:
            raise ValueError(f"rule {self.id} does not declare {severity}, {remedies}")
        return Finding(self.id, severity, vm, subject, seen, self.matters, remedy)


def _in_words(remedies: Iterable[Remedy]) -> str:
    return "; ".join(f"{one.place}: {one.change}" for one in remedies)


_ORDER = {severity: rank for rank, severity in enumerate(Severity)}


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """By severity, then by VM with the host's own first; else in the order given."""
    return tuple(sorted(findings, key=lambda one: (_ORDER[one.severity], one.vm)))
