# SPDX-License-Identifier: Apache-2.0
"""Flags and their variables."""

import pytest

from kvmexporter.registry import COLLECTORS
from tests.unit.cli.running import flags, run


def test_a_variable_that_is_wrong_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As is the flag."""
    monkeypatch.setenv("KVMEXPORTER_BPF_MAX_VCPUS", "many")
    code, _, err = run(capsys, ["dump"])
    assert code == 2
    assert "--bpf.max-vcpus" in err
    assert "KVMEXPORTER_BPF_MAX_VCPUS" in err


@pytest.mark.parametrize("command", ["serve", "dump", "top"])
def test_every_collector_has_its_flags(command: str) -> None:
    """On and off, in every command, from the registry alone."""
    for kind in COLLECTORS:
        assert f"--collector.{kind.name}" in flags(command)
        assert f"--no-collector.{kind.name}" in flags(command)


@pytest.mark.parametrize("command", ["serve", "dump", "top"])
def test_every_flag_is_documented_and_has_a_variable(command: str) -> None:
    """Named after it."""
    for spelling, option in flags(command).items():
        if spelling in ("-h", "--help") or spelling.startswith("--no-"):
            continue
        name = spelling.removeprefix("--").replace(".", "_").replace("-", "_").upper()
        assert option.envvar == f"KVMEXPORTER_{name}"
        assert option.help
        assert option.help.rstrip().endswith((".", "]"))


@pytest.mark.parametrize("command", ["serve", "dump"])
def test_an_unknown_rule_is_not_ignored(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A misspelt rule would be told for ever."""
    arguments = [command, "--no-bpf", "--ignore", "host-clock-steped:web"]
    code, out, err = run(capsys, arguments)
    assert (code, out) == (2, "")
    assert err == (
        "kvmexporter: Invalid value for '--ignore' (env var: 'KVMEXPORTER_IGNORE'): "
        "'host-clock-steped:web': there is no rule 'host-clock-steped'; "
        "did you mean host-clock-stepped?\n"
    )
