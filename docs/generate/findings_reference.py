# SPDX-License-Identifier: Apache-2.0
"""`docs/findings.md`: every rule, why it matters, and what mends it."""

from collections.abc import Iterable

from kvmexporter.model.findings import Remedy, Rule
from kvmexporter.model.rules import SUBJECTS

_HEAD = """\
# Findings

Made from the rules by `make docs`; do not edit.

`kvmexporter dump` prints what it finds first, the worst on top; `kvm_findings{vm, rule, severity}`
counts it for alerts, with `vm=""` for the host's own. `--ignore RULE` leaves a rule out,
`--ignore RULE:VM` of one VM only; the flag may be repeated.

| severity | means |
| --- | --- |
| critical | something is wrong now: time cannot be trusted, or a guest is starved |
| warning | it works, and costs performance, accuracy or safety that need not be lost |
| info | worth knowing; whether to change it depends on what the VM is for |
"""


def render() -> str:
    """The whole document."""
    parts = [_HEAD]
    for subject, rules in SUBJECTS.items():
        parts.append(f"## {subject}\n")
        parts.extend(_section(rule) for rule in rules)
    return "\n".join(parts)


def _section(rule: Rule) -> str:
    severities = " or ".join(rule.severities)
    return "\n".join(
        [
            f"### {rule.id}\n",
            f"{rule.title} ({severities}).\n",
            f"Why it matters: {rule.matters}.\n",
            *_remedies(rule.remedies),
            "",
        ]
    )


def _remedies(remedies: Iterable[Remedy]) -> list[str]:
    return [
        f"- {one.place}{f' (if {one.when})' if one.when else ''}: {_code(one.change)}"
        for one in remedies
    ]


def _code(change: str) -> str:
    """XML must not be taken for markup."""
    return f"`{change}`" if change.startswith(("-", "<")) else change.replace("<", "\\<")
