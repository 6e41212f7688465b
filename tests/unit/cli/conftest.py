# SPDX-License-Identifier: Apache-2.0
"""The command line runs with no variables but a test's own."""

import os

import pytest


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch, root_logging: None) -> None:  # noqa: ARG001
    for name in list(os.environ):
        if name.startswith("KVMEXPORTER_"):
            monkeypatch.delenv(name)
