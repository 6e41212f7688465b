# SPDX-License-Identifier: Apache-2.0
"""`config check`; what is wrong in a file is in test_configfile.py."""

from pathlib import Path

import pytest

from kvmexporter.cli import configfile
from tests.unit.cli.running import run


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int | str | None, str, str]:
    return run(capsys, ["config", "check", *arguments])


def test_good(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both files, and how much they say."""
    web = tmp_path / "web.yml"
    web.write_text("basic_auth_users: {a: $2y$10$" + "a" * 53 + "}")
    path = tmp_path / "k.toml"
    path.write_text(f'user = "nobody"\n[web]\nlisten-address = ":9942"\nconfig.file = "{web}"\n')
    assert check(capsys, "--config.file", str(path)) == (
        0,
        f"{path}: good, 3 settings\n{web}: good, no TLS, passwords: 1\n",
        "",
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("telemetry-path = '/-/ready'", "web.telemetry-path: '/-/ready' is another page's"),
        ("listen-address = '9942'", "web.listen-address: '9942' is not an address to listen on"),
        ("telemetry-path = 'metrics'", "web.telemetry-path: 'metrics' does not begin with /"),
        ("config.file = '/nowhere'", "/nowhere: No such file or directory"),
    ],
)
def test_what_only_serve_would_find(
    text: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Is found here, too."""
    path = tmp_path / "k.toml"
    path.write_text(f"[web]\n{text}\n")
    code, _, err = check(capsys, "--config.file", str(path))
    assert code == 2
    assert complaint in err


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("ignore = ['nosuch']", "ignore: 'nosuch': there is no rule 'nosuch'"),
        ("user = 'nosuchuser'", "user: nosuchuser: no such user"),
        ("bpf.python = '/nowhere'", "bpf.python: /nowhere: there is no such program"),
        ("bpf.kernel-headers = '/nowhere'", "'/nowhere' does not exist"),
    ],
)
def test_what_has_to_be_there(
    text: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rules, users and paths that a file names, as serve wants them."""
    path = tmp_path / "k.toml"
    path.write_text(text)
    for arguments in (["config", "check"], ["serve", "--no-bpf"]):
        code, out, err = run(capsys, [*arguments, "--config.file", str(path)])
        assert (code, out) == (2, "")
        assert err.startswith(f"kvmexporter: {path}: ")
        assert complaint in err
        assert err.count("\n") == 1


def test_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No file is good, unless it was named."""
    path = tmp_path / "none"
    monkeypatch.setattr(configfile, "DEFAULT_PATH", path)
    assert check(capsys) == (0, f"{path}: not there, so the defaults go\n", "")
    assert check(capsys, "--config.file", str(path))[0] == 2
