# SPDX-License-Identifier: Apache-2.0
"""Findings that nobody wants to hear of."""

import pytest

from kvmexporter.errors import UsageError
from kvmexporter.model.findings import Finding, Severity
from kvmexporter.model.ignored import Ignored, parse_ignored

RULES = ("nic-emulated", "disk-emulated")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nic-emulated", Ignored("nic-emulated")),
        ("nic-emulated:web", Ignored("nic-emulated", "web")),
        ("nic-emulated:a:b c", Ignored("nic-emulated", "a:b c")),
    ],
)
def test_parsing(text: str, expected: Ignored) -> None:
    """A VM's name may hold anything."""
    assert parse_ignored(text, RULES) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nic-emulatd:web", "no rule 'nic-emulatd'; did you mean nic-emulated?"),
        ("Nic-Emulated", "did you mean nic-emulated?"),
        ("", "no rule ''; docs/findings.md lists the rules"),
        ("zzz", "docs/findings.md lists the rules"),
        (":web", "no rule ''"),
        ("nic-emulated:", "no VM after the colon"),
    ],
)
def test_what_cannot_be_meant(text: str, said: str) -> None:
    """What is wrong, and what it may have been."""
    with pytest.raises(UsageError) as caught:
        parse_ignored(text, RULES)
    assert said in str(caught.value)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("ignored", "covered"),
    [
        (Ignored("rule"), ["", "web", "db"]),
        (Ignored("rule", "web"), ["web"]),
        (Ignored("other"), []),
    ],
)
def test_covers(ignored: Ignored, covered: list[str]) -> None:
    """One VM's, or everybody's and the host's."""
    findings = [Finding("rule", Severity.INFO, vm, "s", "s", "m", "r") for vm in ("", "web", "db")]
    assert [one.vm for one in findings if ignored.covers(one)] == covered
