# SPDX-License-Identifier: Apache-2.0
"""Files that hold what output has to look like, compared whole.

`KVMEXPORTER_REGENERATE_GOLDEN=1 pytest tests/unit` writes them anew and fails the
tests that found a difference; read `git diff` before you believe it.
"""

import os
from pathlib import Path

VARIABLE = "KVMEXPORTER_REGENERATE_GOLDEN"
_DIRECTORY = Path(__file__).parent / "views" / "golden"


def path(name: str) -> Path:
    """Where a golden file is."""
    return _DIRECTORY / name


def expect(name: str, text: str) -> None:
    """Compare a text with its golden file."""
    place = path(name)
    if os.environ.get(VARIABLE) == "1" and (not place.exists() or place.read_text() != text):
        place.write_text(text)
        raise AssertionError(f"{place} was written anew: read it, and run again")
    assert text.splitlines() == place.read_text().splitlines()
    assert text == place.read_text()
