# SPDX-License-Identifier: Apache-2.0
"""The units: sound, and as tight as docs/install.md says."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests import service

ROOT = Path(__file__).parents[2]
UNIT = service.UNIT


@pytest.fixture(autouse=True)
def _systemd() -> None:
    if not shutil.which("systemd-analyze"):
        pytest.fail("systemd-analyze is missing: apt-get install systemd")


def test_its_exposure_is_as_recorded() -> None:
    """In docs/install.md, to the tenth."""
    said = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", UNIT],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    found = re.search(r"Overall exposure level for kvmexporter.service: ([\d.]+) (\w+)", said)
    assert found, said
    assert f"**{found[1]} {found[2]}**" in (ROOT / "docs/install.md").read_text()
    assert float(found[1]) < 4


def test_no_line_is_misunderstood(tmp_path: Path) -> None:
    """Systemd names every key and value that it does not know."""
    for path in UNIT.parent.iterdir():
        text = path.read_text().replace("/usr/bin/kvmexporter", "/bin/true")
        (tmp_path / path.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *tmp_path.glob("kvmexporter.*")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert [line for line in done.stderr.splitlines() if "kvmexporter" in line] == []


def test_it_lets_through_what_the_exporter_calls(tmp_path: Path) -> None:
    """Every system call of a real server that loads, drops, answers and ends."""
    if not shutil.which("strace"):
        pytest.fail("strace is missing: apt-get install strace")
    summary = tmp_path / "calls"
    program = ROOT / ".venv/bin/kvmexporter"
    traced = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", summary, program, "serve",
         "--web.listen-address", "127.0.0.1:0", "--user", "nobody"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert traced.stderr
    for line in traced.stderr:
        if found := re.search(r"listening address=(\S+)", line):
            subprocess.run(
                ["curl", "-sf", "-o", "/dev/null", f"http://{found[1]}/metrics"], check=True
            )
            break
    children = Path(f"/proc/{traced.pid}/task/{traced.pid}/children").read_text().split()
    subprocess.run(["kill", *children], check=True)
    traced.communicate(timeout=60)
    lines = summary.read_text().splitlines()
    called = {found[1] for line in lines if (found := re.match(r"\d+ +(\w+)\(", line))}
    assert "bpf" in called
    assert called - service.allowed_calls() == set()
