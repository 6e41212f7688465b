# SPDX-License-Identifier: Apache-2.0
"""The dashboards: laid out without overlap, described, linked, with queries that parse."""

import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dashboards.generate import board as boards
from dashboards.generate import rules
from dashboards.generate.boards import BOARDS, find
from dashboards.generate.panel import Board, Panel, expanded
from dashboards.generate.queries import named
from kvmexporter.cli.serve import serve
from tests.dashboards.asked import substituted

MOST_AT_FIRST_SIGHT = 12
PANELS = [(board, panel) for board in BOARDS for panel in boards.panels(board)]


def by_title(value: object) -> str:
    return value.title if isinstance(value, Board | Panel) else str(value)


def document(board: Board) -> dict[str, Any]:
    rendered: dict[str, Any] = json.loads(boards.render(board))
    return rendered


def areas(board: Board) -> Iterator[list[dict[str, Any]]]:
    """The panels that are seen together: those at first sight, and each folded row's."""
    panels = document(board)["panels"]
    yield [panel for panel in panels if panel["type"] != "row"]
    for row in panels:
        if row["type"] == "row":
            yield row["panels"]


@pytest.mark.parametrize("board", BOARDS, ids=by_title)
def test_panels_neither_overlap_nor_leave_holes(board: Board) -> None:
    """Every cell between the first line and the last is one panel's."""
    for panels in areas(board):
        cells = Counter(
            (x, y)
            for panel in panels
            for place in [panel["gridPos"]]
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        )
        top, bottom = min(y for _, y in cells), max(y for _, y in cells)
        assert cells == Counter((x, y) for x in range(24) for y in range(top, bottom + 1))


@pytest.mark.parametrize("board", BOARDS, ids=by_title)
def test_few_panels_are_seen_at_first_sight(board: Board) -> None:
    """The rest is folded."""
    assert len(next(areas(board))) <= MOST_AT_FIRST_SIGHT
    for row in document(board)["panels"]:
        assert row["type"] != "row" or row["collapsed"]


def test_uids_titles_and_ids_are_unique() -> None:
    """Links and alerts lead to one panel."""
    assert len({board.uid for board in BOARDS}) == len(BOARDS)
    for board in BOARDS:
        titles = Counter(panel.title for panel in boards.panels(board))
        assert [title for title, times in titles.items() if times > 1] == []
        identities = Counter(panel["id"] for panels in areas(board) for panel in panels)
        assert [one for one, times in identities.items() if times > 1] == []


def test_ids_are_stable() -> None:
    """They hang on the title alone: bookmarks survive a new layout."""
    assert boards.panel_id("kvmexporter-exits", "Exits per vCPU") == 771552


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=by_title)
def test_a_panel_says_how_to_read_it(board: Board, panel: Panel) -> None:
    """A description in sentences, a unit, and words for when there is nothing."""
    assert panel.about.endswith("."), board.title
    assert len(panel.about) >= 25
    assert panel.unit
    assert panel.empty
    assert panel.queries


@pytest.mark.parametrize("board", BOARDS, ids=by_title)
def test_links_carry_the_selection(board: Board) -> None:
    """Each dashboard links to the others with its variables and its time; tables' links exist."""
    (link,) = document(board)["links"]
    assert (link["includeVars"], link["keepTime"], link["tags"]) == (True, True, [boards.TAG])
    for panel in boards.panels(board):
        assert not panel.link or panel.link in {one.uid for one in BOARDS}


def tables(board: Board) -> Iterator[dict[str, Any]]:
    for panels in areas(board):
        yield from (panel for panel in panels if panel["type"] == "table")


def options_of(table: dict[str, Any], transformation: str) -> list[dict[str, Any]]:
    return [one["options"] for one in table["transformations"] if one["id"] == transformation]


def test_what_a_tables_link_names_is_in_its_frame() -> None:
    """Seen or not: a field that is left out is empty in a link. And it may hold any character."""
    linked = set()
    for table in (table for board in BOARDS for table in tables(board)):
        (organize,) = options_of(table, "organize")
        overrides = table["fieldConfig"]["overrides"]
        for one in (one for override in overrides for one in override["properties"]):
            if one["id"] == "links":
                (link,) = one["value"]
                names = re.findall(r"\$\{__data\.fields\.(\w+):percentencode\}", link["url"])
                assert link["url"].count("__data") == len(names) >= 2
                assert {"job", "instance"} <= set(names) <= organize["indexByName"].keys()
                assert not set(names) & organize["excludeByName"].keys()
                for target in table["targets"]:
                    assert all(set(names) <= by for by in named(target["expr"]).by)
                linked.add(table["title"])
    assert (
        linked
        == {panel.title for _, panel in PANELS if panel.kind == "table" and panel.link}
        >= {"VMs, worst first", "Hosts"}
    )


def test_tables_hide_what_only_their_links_need() -> None:
    """Out of sight, not out of the frame."""
    (table,) = (one for one in tables(BOARDS[0]) if one["title"] == "Hosts")
    hidden = [
        override["matcher"]["options"]
        for override in table["fieldConfig"]["overrides"]
        if {"id": "custom.hidden", "value": True} in override["properties"]
    ]
    assert hidden == ["job"]


def test_tables_begin_with_the_worst() -> None:
    """Most alerts first, then what is most, or least, of what is worst."""
    order = {
        one["title"]: [(by["displayName"], by["desc"]) for by in one["options"]["sortBy"]]
        for one in tables(BOARDS[0])
        if "sortBy" in one["options"]
    }
    assert order == {
        "VMs, worst first": [("Alerts firing", True), ("Exits/s per vCPU", True)],
        "Hosts": [("Alerts firing", True), ("Synchronised", False), ("Clock offset", True)],
    }


def test_low_values_that_are_bad_are_red() -> None:
    """And no others of that column."""
    (table,) = (one for one in tables(BOARDS[0]) if one["title"] == "Hosts")
    (properties,) = (
        {one["id"]: one["value"] for one in override["properties"]}
        for override in table["fieldConfig"]["overrides"]
        if override["matcher"]["options"] == "Synchronised"
    )
    assert properties["thresholds"]["steps"] == [
        {"color": "red", "value": None},
        {"color": "text", "value": 1},
    ]
    assert properties["custom.cellOptions"] == {"type": "color-text"}


def test_no_value_is_neither_good_nor_bad() -> None:
    """A number that is not known is not green."""
    bounded = {
        one["title"]: one["fieldConfig"]["defaults"]["thresholds"]["steps"]
        for board in BOARDS
        for panels in areas(board)
        for one in panels
        if one["type"] == "stat" and len(one["fieldConfig"]["defaults"]["thresholds"]["steps"]) > 1
    }
    assert bounded.keys() == {"Alerts firing", "Hosts not on their TSC"}
    for steps in bounded.values():
        assert [(one["value"], one["color"]) for one in steps] == [
            (None, "text"),
            (0, "green"),
            (1, "red"),
        ]


def test_ratios_are_drawn_in_ppm() -> None:
    """Numbers and bounds alike; no ratio is without a unit."""
    drawn = {
        one["title"]: (
            [target["expr"] for target in one["targets"]],
            one["fieldConfig"]["defaults"]["thresholds"]["steps"][-1]["value"],
        )
        for board in BOARDS
        for panels in areas(board)
        for one in panels
        if one["type"] != "row" and one["fieldConfig"]["defaults"]["unit"] == "ppm"
    }
    assert {title: bound for title, (_, bound) in drawn.items()} == {
        "Host clock drift": None,
        "Guest clock drift": 100,
        "VM clock drift": 100,
        "Frequency adjustment": 500,
    }
    assert all(expr.endswith(") * 1e+06") for asked, _ in drawn.values() for expr in asked)
    assert not [panel.title for _, panel in PANELS if panel.unit == "none"]


@pytest.mark.parametrize(
    ("board", "title", "flag"),
    [
        ("kvmexporter-timekeeping", "VM clock offset", "--guest-agent"),
        ("kvmexporter-timekeeping", "VM clock drift", "--guest-agent"),
        ("kvmexporter-timekeeping", "Guest agents answer", "--guest-agent"),
        ("kvmexporter-memory", "Available in guests", "--balloon.set-polling"),
        ("kvmexporter-memory", "Memory by use in guests", "--balloon.set-polling"),
    ],
)
def test_an_empty_panel_names_the_flag(board: str, title: str, flag: str) -> None:
    """That would fill it."""
    assert f"({flag})" in find(board, title).empty


def test_flags_in_texts_are_flags() -> None:
    """Those that panels name are there to be given."""
    told = {
        flag
        for _, panel in PANELS
        for flag in re.findall(r"--[a-z][\w.-]*\w", f"{panel.about} {panel.empty}")
    }
    known = {one for parameter in serve.params for one in parameter.opts}
    assert told
    assert told <= known


@pytest.mark.parametrize("board", BOARDS, ids=by_title)
def test_tables_leave_out_what_is_there(board: Board) -> None:
    """By the names that fields have before they are renamed; rows of one thing are merged."""
    for table in tables(board):
        (organize,) = options_of(table, "organize")
        assert not organize["excludeByName"].keys() & set(organize["renameByName"].values())
        if len(table["targets"]) > 1:
            kinds = [one["id"] for one in table["transformations"]]
            assert kinds == ["filterFieldsByName", "merge", "organize"]
            (left_out,) = options_of(table, "filterFieldsByName")
            assert left_out == {"exclude": {"names": ["__name__"]}}


@pytest.mark.parametrize("board", BOARDS, ids=by_title)
def test_every_dashboard_is_annotated(board: Board) -> None:
    """With what explains a change in any panel."""
    names = [one["name"] for one in document(board)["annotations"]["list"]]
    assert names == list(boards.ANNOTATIONS)


def test_an_annotation_is_about_what_is_chosen() -> None:
    """A VM's about the chosen VMs; but a migration is seen from two hosts, one of which is not."""
    for name, (expr, text, _) in boards.ANNOTATIONS.items():
        asked = expanded(expr)
        for selector in re.findall(r"kvm_vm_\w+\{([^}]*)\}", asked):
            assert 'vm=~"$vm"' in selector, name
        assert ("$instance" not in asked) == (name == "Migrations")
        assert "{{instance}}" in text or name == "Migrations"


@pytest.mark.parametrize("who", ["host", "guest"])
def test_clocksource_changes_are_marked(who: str) -> None:
    """Of hosts and of guests, the first and any after it."""
    expr, _, _ = boards.ANNOTATIONS["Clocksource changes"]
    counter = f"kvm_{who}_clocksource_changes_total{{@host}}"
    assert f"({counter} unless {counter} offset 1m)" in expr
    assert f"({counter} - {counter} offset 1m > 0)" in expr


@pytest.mark.parametrize("board", BOARDS, ids=by_title)
def test_queries_name_variables_that_the_dashboard_has(board: Board) -> None:
    """Another would be sent to Prometheus as it stands."""
    known = {*board.variables, "__rate_interval"}
    assert {name for one in queries(board) for name in re.findall(r"\$(\w+)", one)} <= known


def queries(board: Board) -> Iterator[str]:
    """What a dashboard asks, annotations included."""
    whole = document(board)
    for panels in areas(board):
        for panel in panels:
            yield from (target["expr"] for target in panel["targets"])
    yield from (one["expr"] for one in whole["annotations"]["list"])


@pytest.mark.parametrize("board", BOARDS, ids=by_title)
def test_promtool_parses_every_query(board: Board, tmp_path: Path) -> None:
    """As a recording rule, since promtool reads those."""
    group = {
        "name": "queries",
        "rules": [
            {"record": f"query:{i}", "expr": substituted(expr)}
            for i, expr in enumerate(queries(board))
        ],
    }
    assert group["rules"]
    file = tmp_path / "queries.yml"
    file.write_text(rules.dump({"groups": [group]}))
    done = subprocess.run(
        ["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "$" not in file.read_text()


def test_a_panel_that_is_not_there() -> None:
    """An alert that names one is an error when the rules are made."""
    with pytest.raises(KeyError, match="no panel 'x' in kvmexporter-fleet"):
        find("kvmexporter-fleet", "x")
