# SPDX-License-Identifier: Apache-2.0
"""Builds the Debian package: `python deploy/deb/build.py DIRECTORY` prints its path.

The program and the libraries it needs go to /usr/lib/kvmexporter, for Debian's own are
older; bcc, which belongs to the distribution's LLVM and kernel, does not. Of compiled
libraries only those of Python's stable interface are taken, so any Python from 3.11 on runs it.
"""

import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
PRIVATE = "usr/lib/kvmexporter"
LAUNCHER = f"""#!/usr/bin/python3 -I
# SPDX-License-Identifier: Apache-2.0
import sys

sys.path.insert(0, "/{PRIVATE}")
from kvmexporter.cli.main import main

main()
"""
CONTROL = """Package: kvmexporter
Version: {version}
Section: admin
Priority: optional
Architecture: {architecture}
Maintainer: kvmexporter developers <kvmexporter@localhost>
Installed-Size: {size}
Depends: python3 (>= 3.11), passwd
Recommends: python3-bpfcc, python3-isal, linux-headers-{architecture}
Description: Prometheus exporter and timekeeping monitor for KVM
 Says, per VM, why the guest leaves guest mode and which I/O path it leaves
 through, how long the host takes to bring it back, whether its clock can be
 trusted, and what its balloon is doing.
"""
POSTINST = """#!/bin/sh
set -e
if [ "$1" = configure ]; then
    if ! getent passwd kvmexporter >/dev/null; then
        useradd --system --user-group --no-create-home --home-dir /nonexistent \\
            --shell /usr/sbin/nologin kvmexporter
    fi
    python3 -m compileall -q /usr/lib/kvmexporter
    if [ -d /run/systemd/system ]; then
        systemctl daemon-reload
        systemctl enable kvmexporter.service
        systemctl restart kvmexporter.service
    fi
fi
"""
PRERM = """#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
    systemctl disable --now kvmexporter.service
fi
find /usr/lib/kvmexporter -type d -name __pycache__ -prune -exec rm -rf {} +
"""
POSTRM = """#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload
fi
if [ "$1" = purge ] && getent passwd kvmexporter >/dev/null; then
    userdel kvmexporter
fi
"""
COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/kvmexporter",
    "zsh": "usr/share/zsh/vendor-completions/_kvmexporter",
    "fish": "usr/share/fish/vendor_completions.d/kvmexporter.fish",
}


def run(*command: str | Path, **environment: str) -> str:
    """A command's output; its errors go through."""
    return subprocess.run(
        [str(one) for one in command],
        env={**os.environ, **environment},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


def libraries(target: Path) -> None:
    """The program and what it needs."""
    shutil.rmtree(ROOT / "build", ignore_errors=True)  # what a build left may be gone since
    run(sys.executable, "-m", "pip", "install", "-q", "--no-compile", "--target", target, ROOT)
    for path in [*target.rglob("__pycache__"), target / "bin", target / "_yaml"]:
        shutil.rmtree(path, ignore_errors=True)
    for path in target.rglob("*.so"):
        if not path.name.endswith(".abi3.so"):
            if path.parent.name != "yaml":
                raise SystemExit(f"{path.name} runs on one version of Python alone")
            path.unlink()  # PyYAML does without
    for record in target.glob("*.dist-info/direct_url.json"):
        record.unlink()  # where it was built is nobody's business


def contents(stage: Path) -> None:
    """Every file of the package."""
    libraries(stage / PRIVATE)
    launcher = write(stage / "usr/bin/kvmexporter", LAUNCHER)
    launcher.chmod(0o755)
    write(stage / "etc/kvmexporter/kvmexporter.toml", (DEPLOY / "kvmexporter.toml").read_text())
    for unit in (DEPLOY / "systemd").iterdir():
        write(stage / "lib/systemd/system" / unit.name, unit.read_text())
    manuals = stage / "usr/share/man/man1"
    manuals.mkdir(parents=True)
    run(sys.executable, DEPLOY / "deb/manpages.py", manuals)
    for path in list(manuals.iterdir()):
        compress(path)
    for shell, place in COMPLETIONS.items():
        script = run(
            Path(sys.executable).with_name("kvmexporter"),
            _KVMEXPORTER_COMPLETE=f"{shell}_source",
        )
        write(stage / place, script)
    documents = stage / "usr/share/doc/kvmexporter"
    write(documents / "copyright", (ROOT / "LICENSE").read_text())
    compress(write(documents / "changelog", (ROOT / "CHANGELOG.md").read_text()))


def write(path: Path, text: str) -> Path:
    """A file, and the directories it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def compress(path: Path) -> None:
    """As Debian wants documents: the same bytes each time."""
    path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), 9, mtime=0))
    path.unlink()


def describe(stage: Path, version: str, architecture: str) -> None:
    """What dpkg needs to know."""
    files = sorted(path for path in stage.rglob("*") if path.is_file())
    size = sum(path.stat().st_size for path in files) // 1024
    control = stage / "DEBIAN"
    write(
        control / "control",
        CONTROL.format(version=version, architecture=architecture, size=size),
    )
    write(control / "conffiles", "/etc/kvmexporter/kvmexporter.toml\n")
    sums = (
        f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(stage)}\n"  # noqa: S324
        for path in files
    )
    write(control / "md5sums", "".join(sums))
    for name, script in (("postinst", POSTINST), ("prerm", PRERM), ("postrm", POSTRM)):
        write(control / name, script).chmod(0o755)


def main(directory: Path) -> Path:
    """Build it there."""
    found = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    if not found:
        raise SystemExit("no version in pyproject.toml")
    architecture = run("dpkg", "--print-architecture").strip()
    os.umask(0o022)
    directory.mkdir(parents=True, exist_ok=True)
    package = directory / f"kvmexporter_{found[1]}_{architecture}.deb"
    with tempfile.TemporaryDirectory() as temporary:
        stage = Path(temporary) / "stage"
        stage.mkdir()
        contents(stage)
        describe(stage, found[1], architecture)
        run("dpkg-deb", "--root-owner-group", "-Zxz", "--build", stage, package)
    return package


if __name__ == "__main__":
    print(main(Path(sys.argv[1])))
