# SPDX-License-Identifier: Apache-2.0
"""Which file holds what, from the project's root."""

from dashboards.generate import board, metrics_reference, promtool, provisioning, rules
from dashboards.generate.alerts import ALERTS
from dashboards.generate.boards import BOARDS, panel_id


def files() -> dict[str, str]:
    """Path → text of every file that is made."""
    result = {
        "docs/metrics.md": metrics_reference.render(),
        "dashboards/alerts/prometheus/alerts.rules.yml": rules.prometheus_alerts(panel_id),
        "dashboards/alerts/prometheus/recording.rules.yml": rules.prometheus_recording(),
        "dashboards/alerts/prometheus/alerts.test.yml": promtool.tests(panel_id),
        "dashboards/alerts/grafana/alerts.yml": rules.grafana_alerts(panel_id),
        "dashboards/provisioning/datasources/kvmexporter.yml": provisioning.datasources(),
        "dashboards/provisioning/dashboards/kvmexporter.yml": provisioning.dashboards(),
        "dashboards/prometheus.yml": provisioning.prometheus(),
        "dashboards/compose.yml": provisioning.compose(),
    }
    for one in BOARDS:
        name = one.uid.removeprefix("kvmexporter-")
        result[f"dashboards/grafana/{name}.json"] = board.render(one)
    for alert in ALERTS:
        result[alert.runbook] = rules.runbook(alert)
    return result
