# SPDX-License-Identifier: Apache-2.0
"""The Debian package: what is in it, and what it does in a fresh Debian tree."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvmexporter.cli.main import cli
from tests.lab.archive import mirrors

ROOT = Path(__file__).parents[2]
PAGES = {"kvmexporter", *(f"kvmexporter-{name}" for name in cli.commands)}


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        [str(one) for one in command], capture_output=True, text=True, check=False,
        env={**os.environ, "LC_ALL": "C.UTF-8", **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("deb")
    return Path(run(sys.executable, ROOT / "deploy/deb/build.py", directory).strip())


def test_what_is_in_it(package: Path, tmp_path: Path) -> None:
    """Program, unit, man pages, completion, configuration; no bytecode, no trace of a build."""
    run("dpkg-deb", "-x", package, tmp_path)
    names = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()}
    manuals = {name for name in names if name.startswith("usr/share/man/")}
    assert {f"usr/share/man/man1/{page}.1.gz" for page in PAGES} <= manuals
    assert {
        "usr/bin/kvmexporter",
        "etc/kvmexporter/kvmexporter.toml",
        "lib/systemd/system/kvmexporter.service",
        "lib/systemd/system/kvmexporter.socket",
        "usr/share/bash-completion/completions/kvmexporter",
        "usr/share/zsh/vendor-completions/_kvmexporter",
        "usr/share/fish/vendor_completions.d/kvmexporter.fish",
        "usr/share/doc/kvmexporter/copyright",
        "usr/lib/kvmexporter/kvmexporter/bpf/loader.py",
    } <= names
    assert not [name for name in names if "__pycache__" in name or name.endswith("direct_url.json")]
    assert not [name for name in names if name.endswith(".so") and ".abi3." not in name]
    for name in names:
        assert str(ROOT) not in (tmp_path / name).read_text(errors="replace")


def test_the_man_pages_are_roff(package: Path, tmp_path: Path) -> None:
    """Groff has nothing to say of them, and every flag of serve is there."""
    run("dpkg-deb", "-x", package, tmp_path)
    for path in (tmp_path / "usr/share/man/man1").iterdir():
        text = run("gzip", "-dc", path)
        done = subprocess.run(
            ["groff", "-man", "-Tutf8", "-ww", "-z"],
            input=text, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stderr == "", path.name
    serve = run("gzip", "-dc", tmp_path / "usr/share/man/man1/kvmexporter-serve.1.gz")
    for option in cli.commands["serve"].params:
        assert option.opts[0].replace("-", "\\-") in serve


def test_the_default_configuration_is_good(package: Path, tmp_path: Path) -> None:
    """As shipped, and with every line of it in force."""
    run("dpkg-deb", "-x", package, tmp_path)
    path = tmp_path / "etc/kvmexporter/kvmexporter.toml"
    program = Path(sys.executable).with_name("kvmexporter")
    assert ": good, 0 settings" in run(program, "config", "check", "--config.file", path)
    (tmp_path / "web.yml").write_text("")
    text = re.sub(r"^# (?=[a-z.-]+ = )", "", path.read_text(), flags=re.MULTILINE)
    path.write_text(text.replace("/etc/kvmexporter/web.yml", str(tmp_path / "web.yml")))
    assert ": good, 7 settings" in run(program, "config", "check", "--config.file", path)


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fresh Debian tree."""
    if os.geteuid() or not shutil.which("debootstrap"):
        pytest.fail("this takes root and debootstrap: apt-get install debootstrap")
    tree = tmp_path_factory.mktemp("debian") / "tree"
    run("debootstrap", "--variant=minbase", "--include=python3", "bookworm", tree,
        mirrors()["Debian"])  # fmt: skip
    run("mount", "-t", "proc", "proc", tree / "proc")
    yield tree
    run("umount", tree / "proc")
    shutil.rmtree(tree)


def test_in_a_fresh_debian(package: Path, debian: Path) -> None:
    """It installs, runs, checks its configuration, and leaves nothing when it is purged."""
    shutil.copy(package, debian / "kvmexporter.deb")

    def inside(*command: str) -> str:
        return run("chroot", debian, *command, PATH="/usr/sbin:/usr/bin:/sbin:/bin")

    inside("dpkg", "-i", "/kvmexporter.deb")
    assert inside("dpkg", "--verify", "kvmexporter") == ""
    assert re.match(r"kvmexporter:x:\d+:\d+::/nonexistent:/usr/sbin/nologin",
                    inside("getent", "passwd", "kvmexporter"))  # fmt: skip
    assert inside("kvmexporter", "--version").startswith("kvmexporter, version ")
    assert "good, 0 settings" in inside("kvmexporter", "config", "check")
    dumped = inside("kvmexporter", "dump", "--duration", "0", "--format", "json")
    states = {one["name"]: one["state"] for one in json.loads(dumped)["collectors"]}
    assert states["vms"] == "ok"
    completed = inside(
        "bash", "-c", "COMP_WORDS='kvmexporter se' COMP_CWORD=1 "
        "_KVMEXPORTER_COMPLETE=bash_complete kvmexporter",
    )  # fmt: skip
    assert completed.strip() == "plain,serve"
    inside("dpkg", "--purge", "kvmexporter")
    assert not (debian / "usr/lib/kvmexporter/kvmexporter").exists()
    assert not (debian / "etc/kvmexporter/kvmexporter.toml").exists()
    assert "kvmexporter" not in (debian / "etc/passwd").read_text()
