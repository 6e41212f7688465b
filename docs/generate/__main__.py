# SPDX-License-Identifier: Apache-2.0
"""Writes every generated document."""

from docs.generate.documents import DOCUMENTS

for path, render in DOCUMENTS.items():
    path.write_text(render())
