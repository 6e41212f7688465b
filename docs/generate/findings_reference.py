# SPDX-License-Identifier: Apache-2.0
"""`docs/findings.md`: every rule, why it matters, and what mends it."""

import re
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

_ARGUMENT = r"[^\s,;()]+(?:,[^\s,;()]+)*"
_OPTION = rf"-(?:cpu|device|drive|machine|netdev|object|overcommit) {_ARGUMENT}"
# Remedies are sentences: what of them is code is told by its form.
_CODE = re.compile(
    "|".join(
        (
            rf"{_OPTION}(?: {_OPTION})*|-m\b",  # QEMU's options
            r"<[^<>]+>(?:\w*<[^<>]+>)*",  # XML
            r"virsh [a-z]+ DOMAIN(?: --[a-z]+| [A-Z0-9]+)*",
            r"\{\".*\}",  # QMP
            r"echo \S+ > [^\s;,]+|modprobe \w+|systemctl [a-z]+(?: --now)? \w+",
            r"ethtool -\w+ [A-Z]+\b(?: [a-z]+ on)*|chronyc \w+|makestep \d+ \d+",
            r"dmesg \| grep(?: -i| -e \w+)+",
            rf"refclock PHC \S+ poll \d+|\b[a-z][\w.-]*={_ARGUMENT}|(?<!\S)/[a-z]+/[^\s;,]+",
        )
    )
)


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
        f"- {one.place}{f' (if {one.when})' if one.when else ''}: {code(one.change)}"
        for one in remedies
    ]


def code(change: str) -> str:
    """A remedy with its code, and nothing but that, in code spans."""
    return _CODE.sub(r"`\g<0>`", change)
