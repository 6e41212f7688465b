# SPDX-License-Identifier: Apache-2.0
"""Opening device nodes."""

import os
from pathlib import Path

import pytest

from kvmexporter.errors import Unavailable
from kvmexporter.sources.devicenode import open_node


def test_a_node_that_is_there() -> None:
    """It is read without waiting, and not handed to programs that are started."""
    fd = open_node(Path("/dev/zero"))
    try:
        assert os.read(fd, 3) == bytes(3)
        assert not os.get_blocking(fd)
        assert not os.get_inheritable(fd)
    finally:
        os.close(fd)


def test_a_node_that_is_not(tmp_path: Path) -> None:
    """What is missing is named, with what to do."""
    with pytest.raises(Unavailable, match="ptp9: No such file") as raised:
        open_node(tmp_path / "ptp9")
    assert "udev" in raised.value.remedy
    with pytest.raises(Unavailable) as raised:
        open_node(tmp_path / "kmsg", "grant it")
    assert raised.value.remedy == "grant it"
