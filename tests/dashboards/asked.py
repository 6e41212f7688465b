# SPDX-License-Identifier: Apache-2.0
"""Asks what every panel of every dashboard asks."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dashboards.generate import board as boards
from dashboards.generate.boards import BOARDS
from tests.dashboards.server import Api

_ALL = ("$job", "$instance", "$vm", "$path", "$class")


def substituted(promql: str, rate_interval: str = "1m") -> str:
    """A panel's query as Grafana sends it with everything chosen."""
    promql = promql.replace("$__rate_interval", rate_interval)
    for name in _ALL:
        promql = promql.replace(name, ".*")
    return promql


# What Grafana asks an annotation's query in: what it marks is gone after a minute.
_ANNOTATION_STEP_SECONDS = 30.0


def ask_all(prometheus: Api, seconds: float, rate_interval: str) -> dict[str, Any]:
    """Every panel's answers.

    Args:
        prometheus: who is asked.
        seconds: how far back time series go.
        rate_interval: what `$__rate_interval` stands for.

    Returns:
        {start, end, boards: [document with each target's `result`]}; dashboards as Grafana
        reads them, folded panels included.

    Raises:
        PrometheusError: a query is wrong.
    """
    end = time.time()
    start, step = end - seconds, max(1.0, seconds / 200)

    def fill(target: dict[str, Any], step: float) -> None:
        promql = substituted(prometheus.hurry.promql(target["expr"]), rate_interval)
        if target.get("instant"):
            target["result"] = prometheus.query(promql)
        else:
            target["result"] = prometheus.query_range(promql, start, end, step)

    documents = []
    for one in BOARDS:
        document = json.loads(boards.render(one))
        for panel in unfolded(document):
            for target in panel["targets"]:
                fill(target, step)
        for annotation in document["annotations"]["list"]:
            fill(annotation, _ANNOTATION_STEP_SECONDS / prometheus.hurry.factor)
        documents.append(document)
    return {"start": start, "end": end, "step": step, "boards": documents}


def unfolded(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """All panels of a dashboard."""
    result: list[dict[str, Any]] = []
    for panel in document["panels"]:
        result += panel["panels"] if panel["type"] == "row" else [panel]
    return result


def redrawn(answers: Mapping[str, Any]) -> dict[str, Any]:
    """The same answers on the dashboards as they are defined now; new queries have none."""
    known = {
        (document["uid"], panel["id"], target["refId"]): target["result"]
        for document in answers["boards"]
        for panel in unfolded(document)
        for target in panel["targets"]
    }
    documents = [json.loads(boards.render(one)) for one in BOARDS]
    for document in documents:
        for panel in unfolded(document):
            for target in panel["targets"]:
                key = (document["uid"], panel["id"], target["refId"])
                target["result"] = known.get(key, [])
    return {**answers, "boards": documents}


def empty(answers: Mapping[str, Any]) -> set[tuple[str, str, str]]:
    """Queries that have nothing to show, as (dashboard, panel, query)."""
    return {
        (_name(document), panel["title"], target["expr"])
        for document in answers["boards"]
        for panel in unfolded(document)
        for target in panel["targets"]
        if not target["result"]
    }


def marked(answers: Mapping[str, Any]) -> dict[str, set[str]]:
    """The annotations that a dashboard has, by name: dashboards that have something to mark."""
    found: dict[str, set[str]] = {}
    for document in answers["boards"]:
        for annotation in document["annotations"]["list"]:
            on = found.setdefault(annotation["name"], set())
            on |= {_name(document)} if annotation["result"] else set()
    return found


def _name(document: Mapping[str, Any]) -> str:
    return str(document["uid"]).removeprefix("kvmexporter-")


def save(answers: Mapping[str, Any], path: Path) -> None:
    """Keep them for the preview."""
    path.write_text(json.dumps(answers), "utf-8")
