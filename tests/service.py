# SPDX-License-Identifier: Apache-2.0
"""The unit that is shipped, read: what it tells systemd to do with the exporter."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

UNIT = Path(__file__).parents[1] / "deploy/systemd/kvmexporter.service"


def settings(section: str = "Service") -> Mapping[str, Sequence[str]]:
    """Key → its values, in order, of one section."""
    found: dict[str, list[str]] = {}
    inside = False
    for line in UNIT.read_text().splitlines():
        if line.startswith("["):
            inside = line == f"[{section}]"
        elif inside and line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def words(key: str) -> list[str]:
    """All words of a setting."""
    return [word for value in settings()[key] for word in value.split()]


def allowed_calls() -> set[str]:
    """The system calls of its filter, groups resolved as systemd does."""
    result: set[str] = set()
    for value in settings()["SystemCallFilter"]:
        names = {name for word in value.lstrip("~").split() for name in _group(word)}
        result = result - names if value.startswith("~") else result | names
    return result


def _group(word: str) -> set[str]:
    if not word.startswith("@"):
        return {word}
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager", word],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    lines = [line.strip() for line in listed.splitlines()[1:]]
    return {name for one in lines if one and not one.startswith("#") for name in _group(one)}
