# SPDX-License-Identifier: Apache-2.0
"""Unit tests of the alerts for promtool: what fires each, and what comes close and must not.

In every case all other alerts must be silent, but for those that a case names; and an alert that
fires must not have done so before its delay was over.
"""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from dashboards.generate.alert import Alert
from dashboards.generate.alerts import ALERTS
from dashboards.generate.rules import PanelId, annotations, dump

_EVERY: Final = 30
_TARGET: Final = {"job": "kvm", "instance": "host-1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One course of events.

    Attributes:
        about: what happens.
        series: a metric, with labels but job and instance → its values every half minute, as
            promtool writes them; `a+bxn` are n+1 values.
        at: when it is looked at.
        fires: labels of each firing series, without job, instance and severity → its summary.
        also: names of alerts that fire, too.
    """

    about: str
    series: dict[str, str]
    at: str = "20m"
    fires: tuple[tuple[dict[str, str], str], ...] = ()
    also: tuple[str, ...] = ()


def tests(panel_id: PanelId) -> str:
    """The whole file."""
    from dashboards.generate.cases import CASES

    by_name = {alert.name: alert for alert in ALERTS}
    return dump(
        {
            "rule_files": ["alerts.rules.yml", "recording.rules.yml"],
            "evaluation_interval": f"{_EVERY}s",
            "tests": [
                _test(by_name[name], case, panel_id)
                for name, cases in CASES.items()
                for case in cases
            ],
        }
    )


def _test(alert: Alert, case: Case, panel_id: PanelId) -> dict[str, Any]:
    return {
        "name": f"{alert.name}: {case.about}",
        "interval": f"{_EVERY}s",
        "input_series": [
            {"series": _series(name), "values": values} for name, values in case.series.items()
        ],
        "alert_rule_test": [
            {"eval_time": case.at, "alertname": other.name}
            | ({"exp_alerts": _expected(alert, case, panel_id)} if other is alert else {})
            for other in ALERTS
            if other.name not in case.also
        ]
        + _not_yet(alert, case),
    }


def _not_yet(alert: Alert, case: Case) -> list[dict[str, Any]]:
    """Just before it may: nothing lasts longer than since the first sample."""
    hold = {"m": 60, "h": 3600}[alert.hold[-1]] * int(alert.hold[:-1])
    if not (case.fires and hold):
        return []
    return [{"eval_time": f"{hold - _EVERY}s", "alertname": alert.name}]


def _series(name: str) -> str:
    metric, _, labels = name.partition("{")
    rest = labels.removesuffix("}")
    target = ",".join(f'{key}="{value}"' for key, value in _TARGET.items() if f"{key}=" not in rest)
    return f"{metric}{{{','.join(part for part in (target, rest) if part)}}}"


def _link(alert: Alert, panel_id: PanelId, labels: dict[str, str]) -> str:
    """To the alert's panel, of what it is about."""
    board, title = alert.panel
    chosen = {f"var-{name}": labels[name] for name in ("job", "instance", "vm") if name in labels}
    return f"/d/{board}?viewPanel=panel-{panel_id(board, title)}&{urlencode(chosen)}"


def _expected(alert: Alert, case: Case, panel_id: PanelId) -> list[dict[str, Any]]:
    return [
        {
            "exp_labels": _TARGET | labels | {"severity": alert.severity},
            "exp_annotations": {
                **annotations(alert, panel_id),
                "summary": summary,
                "dashboard": _link(alert, panel_id, _TARGET | labels),
            },
        }
        for labels, summary in case.fires
    ]
