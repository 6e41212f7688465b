# SPDX-License-Identifier: Apache-2.0
"""The one list of generated documents: each is a module with `render() -> str`."""

from collections.abc import Callable, Mapping
from pathlib import Path

from docs.generate import findings_reference

_DOCS = Path(__file__).parents[1]

DOCUMENTS: Mapping[Path, Callable[[], str]] = {
    _DOCS / "findings.md": findings_reference.render,
}
