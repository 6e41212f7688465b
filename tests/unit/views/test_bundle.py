# SPDX-License-Identifier: Apache-2.0
"""The dashboards leave the package as they were made."""

from pathlib import Path

import pytest
import yaml

from dashboards.generate.files import files
from kvmexporter.errors import KvmExporterError
from kvmexporter.views import bundle

MADE = {
    name.removeprefix("dashboards/"): text
    for name, text in files().items()
    if name.startswith("dashboards/")
}
# Grafana reads one directory: it is there a second time, in the wheel and on disk.
TWICE = {"provisioning/alerting/alerts.yml": MADE["alerts/grafana/alerts.yml"]}


def test_everything_is_written_as_it_was_made(tmp_path: Path) -> None:
    """Byte for byte, into a directory that is not there yet, and again over itself."""
    for _ in range(2):
        written = bundle.write(tmp_path / "a" / "b")
    found = {
        str(path.relative_to(tmp_path / "a" / "b")): path.read_text("utf-8") for path in written
    }
    assert found == MADE | TWICE
    assert written == sorted(written)


def test_runbooks_can_be_elsewhere(tmp_path: Path) -> None:
    """Every alert links to its own, wherever they are served."""
    bundle.write(tmp_path, "https://example.org/runbooks/")
    rules = yaml.safe_load((tmp_path / "alerts/prometheus/alerts.rules.yml").read_text())
    alerts = [rule for group in rules["groups"] for rule in group["rules"]]
    assert alerts
    for rule in alerts:
        assert rule["annotations"]["runbook_url"] == (
            f"https://example.org/runbooks/{rule['alert']}.md"
        )


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    """One line says which."""
    (tmp_path / "file").write_text("")
    with pytest.raises(KvmExporterError, match=r"cannot write .*/file/"):
        bundle.write(tmp_path / "file")


def test_what_refers_to_files_finds_them(tmp_path: Path) -> None:
    """Prometheus's rules and Grafana's dashboards are where their configurations look."""
    bundle.write(tmp_path)
    prometheus = yaml.safe_load((tmp_path / "prometheus.yml").read_text())
    found = [path for pattern in prometheus["rule_files"] for path in tmp_path.glob(pattern)]
    assert {path.name for path in found} == {"alerts.rules.yml", "recording.rules.yml"}
    provider = yaml.safe_load((tmp_path / "provisioning/dashboards/kvmexporter.yml").read_text())
    (one,) = provider["providers"]
    place = one["options"]["path"].replace("$KVMEXPORTER_DASHBOARDS", str(tmp_path))
    assert len(list(Path(place).glob("*.json"))) == 5
    compose = yaml.safe_load((tmp_path / "compose.yml").read_text())
    assert set(compose["services"]) == {"exporter", "prometheus", "grafana"}
