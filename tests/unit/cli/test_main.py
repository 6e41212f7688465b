# SPDX-License-Identifier: Apache-2.0
"""The command line: every way to get it wrong is one line and exit code 2."""

import subprocess
import sys
from collections.abc import Sequence

import pytest

from kvmexporter import __version__
from tests.unit.cli.running import run

BEFORE_STARTING = ("--web.listen-address", "127.0.0.1:0", "--no-bpf")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nope"], "No such command 'nope'"),
        (["--nope"], "No such option '--nope'"),
        (["serve", "--nope"], "No such option '--nope'"),
        (["serve", "surplus"], "unexpected extra argument"),
        (["serve", "--web.listen-address"], "requires an argument"),
        (["serve", "--web.listen-address", "9942"], "'9942' is not an address to listen on"),
        (["serve", "--web.telemetry-path", "metrics"], "'metrics' does not begin"),
        (["serve", *BEFORE_STARTING, "--user", "no-such-user"], "no-such-user: no such user"),
        (["serve", *BEFORE_STARTING, "--user", "4294967294"], "4294967294: no such user"),
        (["serve", *BEFORE_STARTING, "--user", "9" * 30], "no such user"),
        (["serve", *BEFORE_STARTING, "--user", "two\nlines"], "two lines: no such user"),
        (["serve", "--web.telemetry-path", "/-/healthy"], "'/-/healthy' is another page's"),
        (["serve", "--web.telemetry-path", "/page.css"], "'/page.css' is another page's"),
        (["serve", "--bpf.python", "/nope"], "/nope: there is no such program"),
        (["serve", "--bpf.python", "/etc/passwd"], "/etc/passwd: there is no such program"),
        (["serve", "--bpf.kernel-headers", "/nope"], "Directory '/nope' does not exist"),
        (["dump", "--duration", "soon"], "'soon' is not a valid float"),
        (["dump", "--duration", "-1"], "-1.0 is not in the range"),
        (["dump", "--format", "xml"], "'xml' is not one of"),
        (["dump", "--bpf.max-vcpus", "0"], "0 is not in the range"),
        (["dump", "--bpf.max-vcpus", "1.5"], "'1.5' is not a valid int"),
        (["dump", "--log.level", "loud"], "'loud' is not one of"),
        (["dump", "--log.format", "xml"], "'xml' is not one of"),
        (["dump", "--collector.nope"], "No such option '--collector.nope'"),
        (["dump", "--bpf", "maybe"], "unexpected extra argument"),
    ],
)
def test_bad_usage(
    arguments: Sequence[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on standard error names what is wrong; nothing is printed, nothing is served."""
    code, out, err = run(capsys, arguments)
    assert (code, out) == (2, "")
    assert err.startswith("kvmexporter: ")
    assert complaint in err
    assert err.count("\n") == 1


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    """Of the package."""
    for flag in ("-V", "--version"):
        assert run(capsys, [flag]) == (0, f"kvmexporter, version {__version__}\n", "")


@pytest.mark.parametrize("arguments", [["-h"], ["--help"], ["serve", "-h"], ["dump", "--help"]])
def test_help(arguments: Sequence[str], capsys: pytest.CaptureFixture[str]) -> None:
    """On request it is output, not an error."""
    code, out, err = run(capsys, arguments)
    assert (code, err) == (0, "")
    assert out.startswith("Usage: kvmexporter ")


def test_nothing_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """The help, in its lines."""
    code, out, err = run(capsys, [])
    assert code == 2
    assert "\n  dump " in out + err


def test_as_a_module() -> None:
    """`python -m kvmexporter` is the same program, and exits the same way."""
    done = subprocess.run(
        [sys.executable, "-m", "kvmexporter", "nope"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "kvmexporter: No such command 'nope'\n"
