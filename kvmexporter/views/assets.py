# SPDX-License-Identifier: Apache-2.0
"""The files beside the code that pages are made of: style and script."""

from importlib import resources

SERVED = {
    "/page.css": ("style.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
"""Where the endpoint has them: path → name and content type."""


def read(name: str) -> str:
    """One of them, by its name; they are in the package's `assets` directory."""
    return (resources.files("kvmexporter.views") / "assets" / name).read_text()
