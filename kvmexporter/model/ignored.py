# SPDX-License-Identifier: Apache-2.0
"""Findings that nobody wants to hear of: `RULE`, or `RULE:VM`."""

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches

from kvmexporter.errors import UsageError
from kvmexporter.model.findings import Finding


@dataclass(frozen=True, slots=True)
class Ignored:
    """What is not to be told.

    Attributes:
        rule: the rule.
        vm: the only VM it is ignored of; None for all, and for the host.
    """

    rule: str
    vm: str | None = None

    def covers(self, finding: Finding) -> bool:
        """Whether a finding is among it."""
        return finding.rule == self.rule and self.vm in (None, finding.vm)


def parse_ignored(text: str, rules: Collection[str]) -> Ignored:
    """What was written after `--ignore`.

    Args:
        text: `RULE` or `RULE:VM`; a VM's name may contain colons, a rule's never does.
        rules: the names of the rules that there are.

    Raises:
        UsageError: there is no such rule, or no VM after the colon.
    """
    rule, colon, vm = text.partition(":")
    if rule not in rules:
        close = get_close_matches(rule.lower(), rules, n=1)
        hint = f"did you mean {close[0]}?" if close else "docs/findings.md lists the rules"
        raise UsageError(f"{text!r}: there is no rule {rule!r}; {hint}")
    if colon and not vm:
        raise UsageError(
            f"{text!r}: no VM after the colon; leave the colon out to ignore the rule everywhere"
        )
    return Ignored(rule, vm if colon else None)
