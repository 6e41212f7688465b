# SPDX-License-Identifier: Apache-2.0
"""The Makefile: what is installed for what."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TARGET = re.compile(
    r"^([a-z%-]+):([^#=\n]*)(?:##[^\n]*)?\n((?:\t[^\n]*\n|#[^\n]*\n)*)", re.MULTILINE
)
TESTS = re.compile(r"/pytest|LAB_TEST|tests\.(bench|lab|dashboards)")


def targets() -> dict[str, tuple[set[str], str]]:
    """Target → what it takes, its recipe."""
    return {
        name: (set(takes.split()), recipe)
        for name, takes, recipe in TARGET.findall((ROOT / "Makefile").read_text())
    }


def packages(name: str) -> list[str]:
    text = (ROOT / name).read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9.+-]+ +\S.*\S", line) for line in lines), "a name, then why"
    return [line.split()[0] for line in lines]


def test_tests_have_their_tools_and_running_does_without() -> None:
    """Whatever runs tests works on a clean machine; who only looks installs no browser."""
    found = targets()
    testing = {name for name, (_, recipe) in found.items() if TESTS.search(recipe)}
    assert {"unit", "kvm", "lab", "lab-on-%", "packaging", "bench", "preview"} <= testing
    assert [name for name in sorted(testing) if "tools" not in found[name][0]] == []
    assert found["tools"][0] == {"setup", "test-packages"}
    for name in ("run", "lint", "deb", "dashboards"):
        assert "tools" not in found[name][0]


def test_no_package_is_listed_twice() -> None:
    """Each belongs to one of the lists."""
    both = packages("packages.txt") + packages("packages-test.txt")
    assert len(set(both)) == len(both)
