# SPDX-License-Identifier: Apache-2.0
"""Documents that are made from the code."""

import re
from pathlib import Path

import pytest

from docs.generate.documents import DOCUMENTS
from docs.generate.findings_reference import code, render
from kvmexporter.model.rules import RULES


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_it_is_what_the_code_says(path: Path) -> None:
    """`make docs` writes it anew."""
    assert path.read_text() == DOCUMENTS[path]()


def test_every_rule_has_its_heading() -> None:
    """Links to it are made of its name."""
    headings = [line.removeprefix("### ") for line in render().splitlines() if line[:4] == "### "]
    assert headings == list(RULES)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("-cpu host (without kvmclock=off)", "`-cpu host` (without `kvmclock=off`)"),
        ("-cpu host, or -cpu MODEL,+invtsc", "`-cpu host`, or `-cpu MODEL,+invtsc`"),
        ("-m with less; or a balloon", "`-m` with less; or a balloon"),
        ("<a b='1'/> or <c><d/></c>", "`<a b='1'/>` or `<c><d/></c>`"),
        ("modprobe ptp_kvm, and in chrony.conf", "`modprobe ptp_kvm`, and in chrony.conf"),
        ("restart it", "restart it"),
    ],
)
def test_code_is_told_from_prose(change: str, expected: str) -> None:
    """Options, XML and commands, without the words between them."""
    assert code(change) == expected


def test_no_prose_is_in_code_and_no_markup_in_prose() -> None:
    """Of any rule's remedies, also of those to come."""
    for rule in RULES.values():
        for remedy in rule.remedies:
            prose, *spans = code(remedy.change).split("`")
            for span in spans[::2]:
                assert not re.search(r" (or|and|with|without|if|for|in)\b|[(;]|,$", span), rule.id
            assert "<" not in prose + "".join(spans[1::2]), rule.id
