# SPDX-License-Identifier: Apache-2.0
"""`top` where nobody sees a screen; tests/kvm/test_top.py drives it on one."""

import subprocess
import sys

import pytest

from tests.unit.cli.running import run


def test_once(capsys: pytest.CaptureFixture[str]) -> None:
    """One round of plain text: the clock, then VMs or that there is none."""
    code, out, err = run(capsys, ["top", "--no-bpf", "--once", "--interval", "0.1"])
    assert (code, err) == (0, "")
    assert " clock: " in out.splitlines()[0]
    assert "\x1b" not in out


@pytest.mark.parametrize("interval", ["0", "-1", "soon"])
def test_an_interval_that_is_none(interval: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Misuse."""
    assert run(capsys, ["top", "--interval", interval])[0] == 2


def test_a_reader_that_leaves() -> None:
    """Ends it without a word."""
    command = [sys.executable, "-m", "kvmexporter", "top", "--no-bpf", "--interval", "0.1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout
        assert process.stderr
        assert b" clock: " in process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(30) == 0
