# SPDX-License-Identifier: Apache-2.0
"""What a configuration file may say, and what goes before it."""

import json
import re
from pathlib import Path

import pytest

from kvmexporter.cli import configfile
from kvmexporter.cli.main import cli
from kvmexporter.errors import UsageError
from kvmexporter.registry import COLLECTORS
from tests.unit.cli.running import run

BEFORE = ["dump", "--no-bpf", "--duration", "0", "--format", "json"]


def written(directory: Path, text: str) -> str:
    path = directory / "kvmexporter.toml"
    path.write_text(text)
    return str(path)


def collectors(capsys: pytest.CaptureFixture[str], *arguments: str) -> set[str]:
    code, out, err = run(capsys, [*BEFORE, *arguments])
    assert (code, err) == (0, "")
    return {one["name"] for one in json.loads(out)["collectors"]}


def test_flag_before_variable_before_file_before_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is taken away in turn."""
    on = written(tmp_path, "[collector]\nvms = false\nexporter = false\n")
    given = ("--config.file", on)
    assert {"vms", "exporter"} <= collectors(capsys)
    assert not {"vms", "exporter"} & collectors(capsys, *given)
    monkeypatch.setenv("KVMEXPORTER_COLLECTOR_VMS", "true")
    assert {"vms", "exporter"} & collectors(capsys, *given) == {"vms"}
    assert not {"vms", "exporter"} & collectors(capsys, *given, "--no-collector.vms")


def test_the_file_may_be_named_by_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As any flag."""
    monkeypatch.setenv("KVMEXPORTER_CONFIG_FILE", written(tmp_path, "[collector]\nvms = false\n"))
    assert "vms" not in collectors(capsys)


def test_the_default_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Is read if there is a file, and no error if there is none."""
    path = tmp_path / "kvmexporter.toml"
    monkeypatch.setattr(configfile, "DEFAULT_PATH", path)
    assert "vms" in collectors(capsys)
    written(tmp_path, "[collector.vms]\nenabled = false\n")
    assert "vms" not in collectors(capsys)


def test_one_file_for_all_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is of another command is taken by that one."""
    path = written(
        tmp_path,
        'user = "nobody"\n[web]\nlisten-address = [":1", ":2"]\n[collector.exits]\n'
        "enabled = true\nper-vcpu = true\n[bpf]\nenabled = false\nmax-vcpus = 17\n",
    )
    assert "exits" in collectors(capsys, "--config.file", path)


def test_every_flag_is_a_key() -> None:
    """Of serve and dump; what the collectors are called is."""
    known = configfile.options(cli)
    assert {f"collector.{kind.name}" for kind in COLLECTORS} <= known.keys()
    assert {"web.listen-address", "user", "duration", "log.level", "bpf"} <= known.keys()
    assert not {"help", "config.file", "no-bpf"} & known.keys()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "[web]\nlisten-adress = ':1'",
            "unknown key web.listen-adress; did you mean web.listen-ad",
        ),
        ("[colector]\nvms = true", "unknown key colector.vms; did you mean collector.vms?"),
        ("zzzzz = 1", "unknown key zzzzz"),
        ("[collector]\nvms = 'yes'", "collector.vms = 'yes' is not true or false"),
        ("[bpf]\nmax-vcpus = true", "bpf.max-vcpus = True is not a whole number"),
        ("[bpf]\nmax-vcpus = 1.5", "bpf.max-vcpus = 1.5 is not a whole number"),
        ("[bpf]\nmax-vcpus = 0", "bpf.max-vcpus: 0 is not in the range"),
        ("duration = 'long'", "duration = 'long' is not a number"),
        ("[log]\nlevel = 'loud'", "log.level: 'loud' is not one of"),
        ("[web]\nlisten-address = [1]", "is not a text, or a list of texts"),
        ("user = ['a']", "user = ['a'] is not a text"),
        ("[config]\nfile = 'x'", "unknown key config.file"),
        ("a = ", "Invalid value"),
        ("[bpf\n", "line 1"),
    ],
)
def test_what_is_wrong(
    text: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line that names the file and the key, in both commands that read it."""
    path = written(tmp_path, text)
    for arguments in (BEFORE, ["config", "check"]):
        code, out, err = run(capsys, [*arguments, "--config.file", path])
        assert (code, out) == (2, "")
        assert err.startswith(f"kvmexporter: {path}: ")
        assert complaint in err
        assert err.count("\n") == 1


@pytest.mark.parametrize("content", [b"\xff", b"#" * ((1 << 20) + 1)])
def test_what_is_no_text(content: bytes, tmp_path: Path) -> None:
    """Is refused."""
    path = tmp_path / "kvmexporter.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=re.escape(str(path))):
        configfile.read(path)


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Is an error if it was named."""
    code, _, err = run(capsys, [*BEFORE, "--config.file", str(tmp_path / "nope")])
    assert (code, err) == (2, f"kvmexporter: {tmp_path}/nope: No such file or directory\n")
