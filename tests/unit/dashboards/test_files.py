# SPDX-License-Identifier: Apache-2.0
"""What is committed is what the definitions make."""

import subprocess
from pathlib import Path

import pytest

from dashboards.generate.__main__ import ROOT
from dashboards.generate.alerts import ALERTS
from dashboards.generate.files import files

FILES = files()
RULES = ROOT / "dashboards" / "alerts" / "prometheus"


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_as_its_definition_makes_it(name: str) -> None:
    """`make dashboards` writes them anew; read `git diff` before you believe it."""
    path = ROOT / name
    assert path.exists(), "run make dashboards"
    assert path.read_text().splitlines() == FILES[name].splitlines(), "run make dashboards"


@pytest.mark.parametrize(
    ("directory", "pattern"),
    [("docs/runbooks", "*"), ("dashboards/grafana", "*"), ("dashboards/alerts", "*/*.yml")],
)
def test_nothing_is_left_over(directory: str, pattern: str) -> None:
    """No runbook without its alert, no dashboard without its definition."""
    found = {str(path.relative_to(ROOT)) for path in (ROOT / directory).glob(pattern)}
    assert found == {name for name in FILES if Path(name).match(f"{directory}/{pattern}")}


def test_every_alert_has_a_runbook_that_links_to_others_that_exist() -> None:
    """A link to a runbook that nobody wrote helps nobody."""
    for alert in ALERTS:
        text = (ROOT / alert.runbook).read_text()
        for line in (
            "## What it means",
            "## How to check",
            "## How to mend it",
            "kvmexporter dump",
        ):
            assert line in text, alert.name
        for part in text.split("](")[1:]:
            target = part.partition(")")[0]
            assert (ROOT / "docs/runbooks" / target).exists(), f"{alert.name}: {target}"


def promtool(*arguments: str) -> None:
    done = subprocess.run(
        ["promtool", *arguments], capture_output=True, text=True, check=False, cwd=RULES
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_rules() -> None:
    """Syntax of every rule and template."""
    promtool("check", "rules", *(path.name for path in RULES.glob("*.rules.yml")))


def test_promtool_accepts_the_configuration() -> None:
    """Prometheus starts with it."""
    promtool("check", "config", str(ROOT / "dashboards" / "prometheus.yml"))


def test_the_alerts_fire_when_they_should_and_only_then() -> None:
    """Every case of `dashboards/generate/cases_*.py`, all other alerts silent in each."""
    promtool("test", "rules", "alerts.test.yml")
