# SPDX-License-Identifier: Apache-2.0
"""The files that pages are made of."""

import pytest

from kvmexporter.views import assets


@pytest.mark.parametrize("name", ["style.css", "page.js"])
def test_assets(name: str) -> None:
    """Are in the package, and fetch nothing from elsewhere."""
    text = assets.read(name)
    assert "SPDX-License-Identifier: Apache-2.0" in text
    assert "http" not in text
    assert "url(" not in text
