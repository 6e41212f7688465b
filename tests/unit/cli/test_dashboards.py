# SPDX-License-Identifier: Apache-2.0
"""`dashboards` writes the bundle and says what it wrote."""

from pathlib import Path

import pytest

from tests.unit.cli.running import run


def test_it_names_every_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One a line."""
    code, out, _ = run(capsys, ["dashboards", "--output", str(tmp_path)])
    assert code == 0
    written = {str(path) for path in tmp_path.rglob("*") if path.is_file()}
    assert set(out.splitlines()) == written
    assert str(tmp_path / "compose.yml") in written


def test_where_to_is_not_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a directory nothing is written."""
    code, _, err = run(capsys, ["dashboards"])
    assert code == 2
    assert "--output" in err
