# SPDX-License-Identifier: Apache-2.0
"""What holds for every rule, also for those to come."""

import ast
import importlib
import re
from pathlib import Path

import pytest

import kvmexporter
from kvmexporter.model.findings import Place, Rule, Severity
from kvmexporter.model.rules import RULES, SUBJECTS

PACKAGE = Path(kvmexporter.__file__).parent
TESTS = Path(__file__).parent
EVERY = [rule for rules in SUBJECTS.values() for rule in rules]
SENTENCE = re.compile(r"\S.*[^.;\s]")


def test_every_rule_is_listed_once() -> None:
    """Each `*_findings.py` lists its own in `RULES`, and all of them are in the list."""
    declared: list[Rule] = []
    for path in sorted((PACKAGE / "model").glob("*_findings.py")):
        declared.extend(importlib.import_module(f"kvmexporter.model.{path.stem}").RULES)
    assert sorted(rule.id for rule in declared) == sorted(rule.id for rule in EVERY)
    assert len(RULES) == len(EVERY)


def test_findings_are_made_by_rules_alone() -> None:
    """Nobody writes one by hand: it would be in no document, and could not be ignored."""
    makers = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "Finding"
    }
    assert makers == {"model/findings.py"}


@pytest.mark.parametrize("rule", EVERY, ids=lambda rule: rule.id)
def test_a_rule_is_complete(rule: Rule) -> None:
    """A name that fits in a flag and a label, words without a full stop, a way out."""
    assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", rule.id)
    assert SENTENCE.fullmatch(rule.title)
    assert rule.title[0].isupper()
    assert SENTENCE.fullmatch(rule.matters)
    assert rule.severities
    assert list(rule.severities) == [one for one in Severity if one in rule.severities]
    assert rule.remedies
    for remedy in rule.remedies:
        assert SENTENCE.fullmatch(remedy.change)


@pytest.mark.parametrize("rule", EVERY, ids=lambda rule: rule.id)
def test_a_remedy_for_qemu_has_its_xml(rule: Rule) -> None:
    """And the other way round: whoever runs the VM is told what to write."""
    places = [remedy.place for remedy in rule.remedies]
    assert places.count(Place.QEMU) == places.count(Place.LIBVIRT)


@pytest.mark.parametrize("rule", EVERY, ids=lambda rule: rule.id)
def test_a_rule_is_tested(rule: Rule) -> None:
    """Its name is in a table of when it fires."""
    tests = [path.read_text() for path in TESTS.glob("test_*_findings.py")]
    assert any(f'"{rule.id}"' in text for text in tests)
