# SPDX-License-Identifier: Apache-2.0
"""The dashboards leave the package as they were made."""

from pathlib import Path

import pytest
import yaml

from dashboards.generate.files import files
from kvmexporter.errors import KvmExporterError
from kvmexporter.views import bundle

MOVED = {
    "dashboards/alerts/grafana/": "provisioning/alerting/",
    "docs/runbooks/": "runbooks/",
    "dashboards/": "",
}
"""Where the tree has it → where it is written."""


def place(name: str) -> str:
    """Where a file of the tree is written."""
    start = next(start for start in MOVED if name.startswith(start))
    return MOVED[start] + name.removeprefix(start)


MADE = {
    place(name): text.replace("runbook_url: docs/", "runbook_url: ")
    for name, text in files().items()
    if name.startswith(tuple(MOVED)) and not name.endswith(".test.yml")
}


def test_everything_is_written_as_it_was_made(tmp_path: Path) -> None:
    """Byte for byte, into a directory that is not there yet, and again over itself."""
    for _ in range(2):
        written = bundle.write(tmp_path / "a" / "b")
    found = {
        str(path.relative_to(tmp_path / "a" / "b")): path.read_text("utf-8") for path in written
    }
    assert found == MADE
    assert written == sorted(written)


def test_every_alert_links_to_a_runbook_that_is_there(tmp_path: Path) -> None:
    """Those of Prometheus and those of Grafana."""
    bundle.write(tmp_path)
    for name in ("alerts/prometheus/alerts.rules.yml", "provisioning/alerting/alerts.yml"):
        text = (tmp_path / name).read_text("utf-8")
        urls = [line.split()[-1] for line in text.splitlines() if "runbook_url:" in line]
        assert urls
        assert [url for url in urls if not (tmp_path / url).is_file()] == []


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
    """One line says which: the outermost that cannot be made, or the file."""
    (tmp_path / "file").write_text("")
    with pytest.raises(KvmExporterError, match=r"cannot make the directory \S+/file: File exists"):
        bundle.write(tmp_path / "file")
    with pytest.raises(KvmExporterError, match="cannot make the directory /proc/x: No such file"):
        bundle.write(Path("/proc/x/y"))
    (tmp_path / "there/compose.yml").mkdir(parents=True)
    with pytest.raises(KvmExporterError, match=r"cannot write \S+/there/compose.yml: Is a dir"):
        bundle.write(tmp_path / "there")


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
