# SPDX-License-Identifier: Apache-2.0
"""What Grafana is given holds only what Grafana's own types know.

No Grafana server is to be had from the registries that this project is built from. Its schema is,
as the types of grafana-foundation-sdk, which are generated from it: a file is read into them and
written again, and nothing may be lost on the way.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.alerting import Rule
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.generate.__main__ import ROOT

BOARDS = sorted((ROOT / "dashboards/grafana").glob("*.json"))
RULES = ROOT / "dashboards/alerts/grafana/alerts.yml"
# Read by the Prometheus data source's editor of annotations; the schema leaves room for them.
OF_THE_DATA_SOURCE = {"titleFormat", "textFormat", "step"}


@pytest.fixture(autouse=True, scope="module")
def panel_types() -> None:
    """Each type of panel and of query is read by its own schema."""
    register_default_plugins()


def again(read: object) -> Any:
    return json.loads(json.dumps(read, cls=JSONEncoder))


def lost(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Where something is in one and not, or not the same, in the other."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            if key in after:
                yield from lost(value, after[key], f"{path}/{key}")
            else:
                yield f"{path}/{key}"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for i, value in enumerate(before):
            yield from lost(value, after[i], f"{path}/{i}")
    elif before != after:
        yield path


@pytest.mark.parametrize("path", BOARDS, ids=lambda path: path.stem)
def test_a_dashboard_is_of_grafanas_types(path: Path) -> None:
    """All of it: panels of every kind, their options, queries, variables, annotations, links."""
    document = json.loads(path.read_text())
    found = lost(document, again(Dashboard.from_json(document)))
    unknown = [one for one in found if one.rpartition("/")[2] not in OF_THE_DATA_SOURCE]
    assert unknown == []


def test_what_grafana_does_not_know_is_found() -> None:
    """An option of a panel and a key of the dashboard that nobody reads."""
    document = json.loads(BOARDS[0].read_text())
    document["nonsense"] = 1
    document["panels"][0]["options"]["nonsense"] = 1
    assert {"/nonsense", "/panels/0/options/nonsense"} <= set(
        lost(document, again(Dashboard.from_json(document)))
    )


def test_managed_alerts_are_of_grafanas_types() -> None:
    """Rules as Grafana's provisioning takes them, with the states that it knows."""
    hints = get_type_hints(Rule.__init__)
    document = yaml.safe_load(RULES.read_text())
    assert document["apiVersion"] == 1
    for group in document["groups"]:
        assert set(group) == {"orgId", "name", "folder", "interval", "rules"}
        for rule in group["rules"]:
            assert list(lost(rule, again(Rule.from_json(rule)))) == []
            for key, hint in (("noDataState", "no_data_state"), ("execErrState", "exec_err_state")):
                (literal, _) = get_args(hints[hint])
                assert rule[key] in get_args(literal)
            references = {query["refId"] for query in rule["data"]}
            assert rule["condition"] in references
