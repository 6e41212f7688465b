# SPDX-License-Identifier: Apache-2.0
"""Documents that are made from the code."""

from pathlib import Path

import pytest

from docs.generate.documents import DOCUMENTS
from docs.generate.findings_reference import render
from kvmexporter.model.rules import RULES


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_it_is_what_the_code_says(path: Path) -> None:
    """`make docs` writes it anew."""
    assert path.read_text() == DOCUMENTS[path]()


def test_every_rule_has_its_heading() -> None:
    """Links to it are made of its name."""
    headings = [line.removeprefix("### ") for line in render().splitlines() if line[:4] == "### "]
    assert headings == list(RULES)
