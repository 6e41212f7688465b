# SPDX-License-Identifier: Apache-2.0
"""The alerts themselves: complete, told apart, shown on a panel that draws the same bound."""

import re

import pytest
import yaml

from dashboards.generate import rules
from dashboards.generate.alert import Alert
from dashboards.generate.alerts import ALERTS
from dashboards.generate.boards import BOARDS, find, panel_id
from dashboards.generate.cases import CASES


def by_name(alert: Alert) -> str:
    return alert.name


def test_names_and_uids_are_unique() -> None:
    """Grafana identifies by one, people by the other."""
    assert len({alert.name for alert in ALERTS}) == len(ALERTS)
    assert len({rules.uid(alert) for alert in ALERTS}) == len(ALERTS)


@pytest.mark.parametrize("alert", ALERTS, ids=by_name)
def test_an_alert_is_complete(alert: Alert) -> None:
    """What it is about is in its summary, and the texts are sentences."""
    assert re.fullmatch(r"Kvm(Host|Guest|Vm|Exporter)[A-Z]\w+", alert.name)
    assert "$labels.instance" in alert.summary
    if alert.name.startswith("KvmVm"):
        assert "$labels.vm" in alert.summary
    assert not alert.summary.endswith(".")
    for text in (alert.meaning, alert.check, alert.mend):
        assert text.endswith("."), text
    assert "kvmexporter dump" in alert.check
    assert re.fullmatch(r"\d+[mh]", alert.hold)


@pytest.mark.parametrize("alert", ALERTS, ids=by_name)
def test_its_panel_draws_the_same_threshold(alert: Alert) -> None:
    """Who follows an alert to its panel sees the line that was crossed; counts have none."""
    panel = find(*alert.panel)
    if alert.threshold == 0 or alert.below is not None:
        return
    assert panel.warn == alert.threshold


@pytest.mark.parametrize("alert", ALERTS, ids=by_name)
def test_it_has_a_case_that_fires_and_one_that_does_not(alert: Alert) -> None:
    """A rule that never fires passes every other test."""
    cases = CASES[alert.name]
    assert [case for case in cases if case.fires]
    assert [case for case in cases if not case.fires]
    assert len({case.about for case in cases}) == len(cases)


def test_every_case_is_an_alert_s() -> None:
    """None is left over."""
    assert set(CASES) == {alert.name for alert in ALERTS}


def test_grafana_and_prometheus_have_the_same_alerts() -> None:
    """Same names, severities, texts and delays; only the notation differs."""
    prometheus = {
        rule["alert"]: rule
        for group in yaml.safe_load(rules.prometheus_alerts(panel_id))["groups"]
        for rule in group["rules"]
    }
    grafana = {
        rule["title"]: rule
        for group in yaml.safe_load(rules.grafana_alerts(panel_id))["groups"]
        for rule in group["rules"]
    }
    assert set(grafana) == set(prometheus) == {alert.name for alert in ALERTS}
    for name, rule in grafana.items():
        other = prometheus[name]
        assert rule["labels"] == other["labels"]
        said = rule["annotations"]["summary"].replace("$$values.A.Value", "$value")
        assert said.replace("$$", "$") == other["annotations"]["summary"]
        assert rule["annotations"]["runbook_url"] == other["annotations"]["runbook_url"]
        assert rule["annotations"]["__dashboardUid__"] in {board.uid for board in BOARDS}
        (evaluator,) = (one["evaluator"] for one in rule["data"][1]["model"]["conditions"])
        sign = {"gt": ">", "lt": "<"}[evaluator["type"]]
        assert f") {sign} {evaluator['params'][0]:.12g}" in other["expr"]
