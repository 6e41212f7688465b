# SPDX-License-Identifier: Apache-2.0
"""The alerts as Prometheus rules, as Grafana-managed rules, and as runbooks."""

import zlib
from collections.abc import Callable
from typing import Any

import yaml

from dashboards.generate.alert import Alert
from dashboards.generate.alerts import GROUPS
from dashboards.generate.recording import RECORDINGS

_HEAD = "# SPDX-License-Identifier: Apache-2.0\n# Made by `make dashboards`; do not edit.\n"
_INTERVAL = "30s"

# Dashboards' variables that an alert may have as a label.
_CHOSEN = "".join(
    f"{{{{ with $labels.{name} }}}}&var-{name}={{{{ . | urlquery }}}}{{{{ end }}}}"
    for name in ("job", "instance", "vm")
)

PanelId = Callable[[str, str], int]
"""Dashboard's uid, panel's title → panel's id; KeyError if there is none."""


def dump(document: object) -> str:
    """YAML with long lines left whole and keys in the given order."""
    return _HEAD + yaml.safe_dump(document, sort_keys=False, width=10_000, allow_unicode=True)


def prometheus_recording() -> str:
    """The recording rules."""
    rules = [{"record": one.record, "expr": one.expr} for one in RECORDINGS]
    return dump({"groups": [_group("kvm-recording", rules)]})


def prometheus_alerts(panel_id: PanelId) -> str:
    """The alerting rules of Prometheus."""
    groups = [
        _group(name, [_prometheus(alert, panel_id) for alert in alerts])
        for name, alerts in GROUPS.items()
    ]
    return dump({"groups": groups})


def _group(name: str, rules: list[dict[str, Any]]) -> dict[str, Any]:
    return {"name": name, "interval": _INTERVAL, "rules": rules}


def _prometheus(alert: Alert, panel_id: PanelId) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.hold if alert.hold != "0m" else "0s",
        "labels": {"severity": alert.severity},
        "annotations": annotations(alert, panel_id),
    }


def annotations(alert: Alert, panel_id: PanelId) -> dict[str, str]:
    """What an alert says beside its labels."""
    board, title = alert.panel
    return {
        "summary": alert.summary,
        "description": alert.meaning,
        "runbook_url": alert.runbook,
        "dashboard": f"/d/{board}?viewPanel=panel-{panel_id(board, title)}{_CHOSEN}",
    }


def grafana_alerts(panel_id: PanelId) -> str:
    """The same, managed by Grafana: a file for its provisioning."""
    groups = [
        {
            "orgId": 1,
            "name": name,
            "folder": "KVM",
            "interval": _INTERVAL,
            "rules": [_grafana(alert, panel_id) for alert in alerts],
        }
        for name, alerts in GROUPS.items()
    ]
    return dump({"apiVersion": 1, "groups": groups})


def uid(alert: Alert) -> str:
    """Stable, and short enough for Grafana's 40 characters."""
    return f"kvm-{zlib.crc32(alert.name.encode()):08x}"


def _grafana(alert: Alert, panel_id: PanelId) -> dict[str, Any]:
    board, title = alert.panel
    said = annotations(alert, panel_id)
    del said["dashboard"]
    for key, text in said.items():
        said[key] = text.replace("$value", "$values.A.Value")
    # Grafana's provisioning takes a single $ for an environment variable.
    said = {key: text.replace("$", "$$") for key, text in said.items()}
    said["__dashboardUid__"] = board
    said["__panelId__"] = str(panel_id(board, title))
    evaluator = "gt" if alert.above is not None else "lt"
    return {
        "uid": uid(alert),
        "title": alert.name,
        "condition": "B",
        "data": [
            {
                "refId": "A",
                "relativeTimeRange": {"from": 600, "to": 0},
                "datasourceUid": "kvmexporter-prometheus",
                "model": {"refId": "A", "expr": alert.query, "instant": True, "range": False},
            },
            {
                "refId": "B",
                "datasourceUid": "__expr__",
                "model": {
                    "refId": "B",
                    "type": "threshold",
                    "expression": "A",
                    "conditions": [{"evaluator": {"type": evaluator, "params": [alert.threshold]}}],
                },
            },
        ],
        # No series: nothing is wrong, or the exporter is down, which has its own alert.
        "noDataState": "OK",
        "execErrState": "Error",
        "for": alert.hold,
        "annotations": said,
        "labels": {"severity": alert.severity},
        "isPaused": False,
    }


def runbook(alert: Alert) -> str:
    """The runbook of an alert."""
    bound = f"{'above' if alert.above is not None else 'below'} {alert.threshold:.12g}"
    held = "at once" if alert.hold == "0m" else f"after {alert.hold}"
    only = f"\n\nand only where\n\n```promql\n{alert.guard}\n```" if alert.guard else ""
    return (
        f"# {alert.name}\n\n"
        f"*Severity {alert.severity}; fires {held} while this is {bound}:*\n\n"
        f"```promql\n{alert.value}\n```{only}\n\n"
        f"## What it means\n\n{alert.meaning}\n\n"
        f"## How to check\n\n{alert.check}\n\n"
        f"## How to mend it\n\n{alert.mend}\n"
    )
