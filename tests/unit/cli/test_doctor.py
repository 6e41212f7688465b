# SPDX-License-Identifier: Apache-2.0
"""`doctor`, on this very system."""

import json
from pathlib import Path

import pytest

from kvmexporter.registry import COLLECTORS
from tests.unit.cli.running import run


def test_every_collector_has_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    """And what is not there fails nobody who did not ask for it."""
    code, out, err = run(capsys, ["doctor", "--no-bpf", "--platform", "ubuntu"])
    assert (code, err) == (0, "")
    assert "remedies for: ubuntu" in out
    for kind in COLLECTORS:
        assert [line for line in out.splitlines() if line.startswith(f"{kind.name} ")]


@pytest.mark.parametrize(
    ("arguments", "failed"),
    [
        ([], []),
        (["--collector.exits", "--collector.vms"], ["exits"]),
        (["--no-collector.exits"], []),
    ],
)
def test_what_was_asked_for(
    arguments: list[str], failed: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1 if it cannot work."""
    code, out, _ = run(capsys, ["doctor", "--no-bpf", "--format", "json", *arguments])
    document = json.loads(out)
    assert document["failed"] == failed
    assert code == (1 if failed else 0)
    names = [one["name"] for one in document["collectors"]]
    assert ("exits" in names) == ("--no-collector.exits" not in arguments)
    missing = {one["name"]: one for one in document["needs"]}["bpf"]
    assert missing["state"] == "missing"
    assert missing["remedy"] == "leave out --no-bpf"


def test_headers_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Were asked for by their flag, too."""
    flag = ("--no-bpf", "--bpf.kernel-headers", str(tmp_path))
    code, out, _ = run(capsys, ["doctor", "--format", "json", *flag])
    assert code == 1
    assert "exits" in json.loads(out)["failed"]
