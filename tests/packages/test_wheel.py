# SPDX-License-Identifier: Apache-2.0
"""The wheel and the sdist, and a fresh environment that has nothing else."""

import glob
import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with both, made from what git knows."""
    directory = tmp_path_factory.mktemp("built")
    source = directory / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    for name in listed.rstrip("\0").split("\0"):
        if os.path.lexists(ROOT / name):  # links, too: one has the dashboards
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name, follow_symlinks=False)
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", directory / "dist", source],
        check=True, capture_output=True,
    )  # fmt: skip
    return directory / "dist"


def test_everything_is_inside(built: Path) -> None:
    """Each file of the package that git knows; the sdist has its tests' licence, too."""
    (wheel,) = built.glob("*.whl")
    (sdist,) = built.glob("*.tar.gz")
    expected = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "kvmexporter").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert expected - names == set()
    dashboards = {
        f"kvmexporter/{path.relative_to(ROOT)}"
        for path in map(Path, glob.glob(f"{ROOT}/dashboards/**", recursive=True))  # noqa: PTH207 - through links
        if path.suffix in {".json", ".md", ".yml"} and not path.name.endswith(".test.yml")
    }
    assert any("/runbooks/" in name for name in dashboards)
    packed_dashboards = {name for name in names if name.startswith("kvmexporter/dashboards/")}
    assert packed_dashboards == dashboards | {"kvmexporter/dashboards/__init__.py"}
    licences = {name.partition("/licenses/")[2] for name in names if "/licenses/" in name}
    assert licences == {"LICENSE", "kvmexporter/bpf/LICENSE.GPL-2.0"}
    assert {name.split("/")[0] for name in names} == {
        "kvmexporter", next(name for name in names if "dist-info" in name).split("/")[0],
    }  # fmt: skip
    with tarfile.open(sdist) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    assert (expected | dashboards) - packed == set()
    assert {"LICENSE", "README.md", "pyproject.toml"} <= packed


def test_a_fresh_environment_runs_it(built: Path, tmp_path: Path) -> None:
    """With the wheel and what it asks for alone."""
    (wheel,) = built.glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    program = tmp_path / "venv/bin/kvmexporter"
    subprocess.run(
        [tmp_path / "venv/bin/pip", "install", "-q", wheel], check=True, capture_output=True
    )
    done = subprocess.run(
        [program, "dump", "--duration", "0", "--format", "json"],
        cwd=tmp_path, check=True, capture_output=True, text=True,
    )  # fmt: skip
    states = {one["name"]: one["state"] for one in json.loads(done.stdout)["collectors"]}
    assert states["vms"] == "ok"
    assert states["exporter"] == "ok"
