# SPDX-License-Identifier: Apache-2.0
"""Stolen time."""

import os
from pathlib import Path

import pytest

from kvmexporter.sources.procstat import steal_ns


def test_steal(tmp_path: Path) -> None:
    """The eighth number of the first line, in ticks; no other line counts."""
    text = "cpu  1 2 3 4 5 6 7 4243 9 10\ncpu0 1 2 3 4 5 6 7 4000 9 10\n"
    (tmp_path / "stat").write_text(text)
    assert steal_ns(tmp_path, 100) == 42_430_000_000
    assert steal_ns(tmp_path, 1000) == 4_243_000_000


@pytest.mark.parametrize("text", ["", "cpu  1 2 3 4 5 6 7\n", "intr 1 2 3 4 5 6 7 8\n",
                                  "cpu  1 2 3 4 5 6 7 -8\n"])  # fmt: skip
def test_what_the_kernel_does_not_say(tmp_path: Path, text: str) -> None:
    """Absent, not zero."""
    (tmp_path / "stat").write_text(text)
    assert steal_ns(tmp_path) is None


def test_no_file(tmp_path: Path) -> None:
    """Absent, not broken."""
    assert steal_ns(tmp_path) is None


def test_this_system() -> None:
    """The number is the one that the kernel's own line has, read before and after."""

    def ticks() -> int:
        return int(Path("/proc/stat").read_text().split("\n")[0].split()[8])

    per_second = os.sysconf("SC_CLK_TCK")
    before, stolen, after = ticks(), steal_ns(), ticks()
    assert stolen is not None
    assert before <= stolen * per_second // 10**9 <= after
