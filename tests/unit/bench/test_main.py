# SPDX-License-Identifier: Apache-2.0
"""Which runs are whole, and which write the documents."""

from pathlib import Path

import pytest

from tests.bench.__main__ import document, is_whole
from tests.bench.scrape import SIZES


@pytest.mark.parametrize(
    ("sizes", "quick", "whole"),
    [
        (SIZES, False, True),
        ((*SIZES, 2000), False, True),
        ((10,), False, False),
        (SIZES[:-1], False, False),
        (SIZES, True, False),
    ],
)
def test_a_whole_run_has_every_size(sizes: tuple[int, ...], quick: bool, whole: bool) -> None:
    """And all turns."""
    assert is_whole(sizes, quick=quick) is whole


def test_only_a_whole_run_writes_documents_unasked() -> None:
    """Any other where it is told to."""
    asked = Path("somewhere/benchmarks.md")
    assert document(None, whole=False) is None
    assert document(None, whole=True) == Path("docs/benchmarks.md")
    assert document(asked, whole=False) == asked
    assert document(asked, whole=True) == asked
