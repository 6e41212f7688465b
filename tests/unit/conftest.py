# SPDX-License-Identifier: Apache-2.0
"""Parts that many tests are made of."""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.host import Host
from tests.unit.procfs_tree import ProcfsTree


@pytest.fixture
def tree(tmp_path: Path) -> ProcfsTree:
    """A procfs without a process."""
    root = tmp_path / "proc"
    root.mkdir()
    return ProcfsTree(root)


@pytest.fixture
def host(tree: ProcfsTree) -> Host:
    """A host without a VM."""
    return Host(tree)


@pytest.fixture
def root_logging() -> Iterator[logging.Logger]:
    """The root logger, put back afterwards."""
    root, access = logging.getLogger(), logging.getLogger("tornado.access")
    handlers, level, access_level = root.handlers[:], root.level, access.level
    yield root
    root.handlers[:] = handlers
    root.setLevel(level)
    access.setLevel(access_level)
