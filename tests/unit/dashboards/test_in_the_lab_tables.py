# SPDX-License-Identifier: Apache-2.0
"""What the lab's test of alerts expects fits what is shipped, and leaves nothing out."""

import json

import pytest

from dashboards.generate import board as boards
from dashboards.generate.alerts import ALERTS
from dashboards.generate.boards import BOARDS
from dashboards.generate.queries import named
from tests.dashboards.absent import SILENT, WITHOUT_SUBJECT
from tests.dashboards.asked import unfolded
from tests.dashboards.expected import STANDING, TROUBLES, Expected, every_alert, is_boot, key
from tests.lab.trouble import ORDERS


def test_every_alert_fires_there_or_has_a_reason_not_to() -> None:
    """One of both, and nothing else is named."""
    fires = {alert.name for alert in every_alert()}
    assert fires & SILENT.keys() == set()
    assert fires | SILENT.keys() == {alert.name for alert in ALERTS}
    assert STANDING


def test_every_order_is_given() -> None:
    """What can happen there does."""
    given = [name for trouble in TROUBLES for name in (*trouble.orders, *trouble.mends)]
    assert sorted(given) == sorted(ORDERS)


def test_what_stays_empty_is_asked_for() -> None:
    """By the dashboard that is said to."""
    asked = set()
    for one in BOARDS:
        document = json.loads(boards.render(one))
        name = document["uid"].removeprefix("kvmexporter-")
        for panel in unfolded(document):
            for target in panel["targets"]:
                asked |= {(name, metric) for metric in named(target["expr"]).metrics}
    assert WITHOUT_SUBJECT.keys() <= asked


def test_only_a_boot_may_fire_or_not() -> None:
    """Nothing that is expected is let off, and nothing of another VM."""
    assert not any(is_boot(alert.key) for alert in every_alert())
    name = "KvmVmUserspaceExitStorm"
    assert is_boot((name, frozenset({("vm", "job"), ("instance", "host")})))
    assert not is_boot((name, frozenset({("vm", "web"), ("instance", "host")})))
    assert not is_boot(("KvmVmExitStorm", frozenset({("vm", "job"), ("instance", "host")})))


@pytest.mark.parametrize("alert", every_alert(), ids=lambda alert: alert.name)
def test_what_is_expected_is_found_by_its_labels(alert: Expected) -> None:
    """Whatever Prometheus adds; and its summary is not any text."""
    added = {"alertname": alert.name, "severity": "info", "job": "kvmexporter"}
    assert key({**alert.labels, **added}) == alert.key
    assert not alert.is_told("")
    assert not alert.is_told("of VM other on host")
