# SPDX-License-Identifier: Apache-2.0
"""Dashboards, rules and collectors speak of the same metrics."""

from collections.abc import Iterator

import pytest

from dashboards.generate import board as boards
from dashboards.generate.alerts import ALERTS
from dashboards.generate.boards import BOARDS
from dashboards.generate.panel import Panel, expanded
from dashboards.generate.queries import Named, named
from dashboards.generate.recording import RECORDINGS
from kvmexporter import sampler
from kvmexporter.model.metrics import Kind, Metric
from kvmexporter.registry import COLLECTORS

# What Prometheus itself adds or makes.
TARGET_LABELS = {"job", "instance", "__name__"}
PROMETHEUS = {
    "up": set[str](),
    "ALERTS": {"alertname", "alertstate", "severity", "instance", "vm"},
}
# Metrics that no dashboard and no alert uses, and why.
UNUSED = {
    "kvm_vm_unserved_events": "it completes sums for whoever checks them; rates need it not",
}


def declared() -> dict[str, set[str]]:
    """Name of each series → its labels."""
    metrics: list[Metric] = [metric for kind in COLLECTORS for metric in kind.metrics]
    result = dict(PROMETHEUS)
    for metric in (*metrics, *sampler.METRICS):
        labels = set(metric.labels)
        if metric.kind is Kind.HISTOGRAM:
            result[f"{metric.name}_bucket"] = labels | {"le"}
            result[f"{metric.name}_count"] = result[f"{metric.name}_sum"] = labels
        else:
            result[metric.name] = labels
    return result


DECLARED = declared()


def labels_of(name: str) -> set[str]:
    """Of a metric, or of what its recording rule reads, itself aside."""
    if name in DECLARED:
        return DECLARED[name]
    (rule,) = (one for one in RECORDINGS if one.record == name)
    found = named(rule.expr)
    return set(found.grouped) | {
        label for one in found.metrics - {name} for label in labels_of(one)
    }


def all_queries() -> Iterator[tuple[str, str]]:
    """Who asks, and what."""
    for board in BOARDS:
        for panel in boards.panels(board):
            for query in panel.queries:
                yield f"{board.uid}: {panel.title}", expanded(query.expr)
        for name, (expr, _, _) in boards.ANNOTATIONS.items():
            yield f"{board.uid}: annotation {name}", expanded(expr)
        for name in board.variables:
            yield f"{board.uid}: variable {name}", variable(name)
    for recording in RECORDINGS:
        yield recording.record, recording.expr
    for alert in ALERTS:
        yield alert.name, alert.expr


def variable(name: str) -> str:
    """The series that a variable's values are of, with the label as a matcher."""
    inside = boards.VARIABLES[name][1].removeprefix("label_values(").removesuffix(")")
    series, _, label = inside.rpartition(", ")
    return (
        series.removesuffix("}") + f', {label}=""}}' if "{" in series else f'{series}{{{label}=""}}'
    )


QUERIES = list(dict.fromkeys(all_queries()))


@pytest.mark.parametrize(("who", "promql"), QUERIES, ids=[who for who, _ in QUERIES])
def test_a_query_names_what_some_collector_declares(who: str, promql: str) -> None:
    """Its metrics, and their labels."""
    recorded = {one.record for one in RECORDINGS}
    found = named(promql)
    assert sorted(found.metrics - DECLARED.keys() - recorded) == [], who
    for metric, label in found.matched:
        if metric:
            assert label in labels_of(metric) | TARGET_LABELS, f"{who}: {metric} has no {label}"
    known = {label for metric in found.metrics for label in labels_of(metric)} | TARGET_LABELS
    if found.metrics:
        assert sorted(found.grouped - known) == [], who


PANELS = {
    f"{board.uid}: {panel.title}": panel for board in BOARDS for panel in boards.panels(board)
}


@pytest.mark.parametrize("panel", PANELS.values(), ids=PANELS)
def test_what_is_shown_is_one_vms_or_one_hosts(panel: Panel) -> None:
    """Two hosts have a VM of one name while it migrates, two jobs may have an instance of one."""
    for query in panel.queries:
        for by in named(expanded(query.expr)).by:
            assert "vm" not in by or {"job", "instance"} <= by, query.expr
            assert "instance" not in by or "job" in by, query.expr
        assert "{{vm}}" not in query.legend or "{{instance}}" in query.legend, query.legend
    if panel.kind == "table":
        assert "instance" not in panel.hidden
    if panel.texts and panel.texts.get("0", ("", ""))[1] == "red":
        # Where one of several is bad, the bad one is shown.
        assert all("max by" not in query.expr for query in panel.queries)


def test_every_metric_is_used() -> None:
    """By a panel or an alert, or there is a reason why not; recording alone is no use."""
    used: set[str] = set()
    recordings = {one.record: one.expr for one in RECORDINGS}
    asked = [promql for _, promql in QUERIES if promql not in recordings.values()]
    while asked:
        for metric in named(asked.pop()).metrics - used:
            if metric in recordings:
                asked.append(recordings[metric])
            used.add(metric)
    metrics = [metric for kind in COLLECTORS for metric in kind.metrics] + list(sampler.METRICS)
    unused = {
        metric.name
        for metric in metrics
        if not used & {metric.name, *(f"{metric.name}_{part}" for part in ("bucket", "count"))}
    }
    assert sorted(unused) == sorted(UNUSED)


def test_every_recording_is_used_more_than_once() -> None:
    """Otherwise it is a detour."""
    asked = [promql for _, promql in QUERIES]
    for recording in RECORDINGS:
        users = [promql for promql in asked if recording.record in named(promql).metrics]
        assert len(users) >= 2, recording.record


@pytest.mark.parametrize(
    ("promql", "expected"),
    [
        ("up", Named(frozenset({"up"}), frozenset(), frozenset())),
        (
            'sum by (vm, le) (rate(x_bucket{class!="a,b{", vm=~"$vm"}[5m])) / 1e3 > bool 0.5',
            Named(
                frozenset({"x_bucket"}),
                frozenset({("x_bucket", "class"), ("x_bucket", "vm")}),
                frozenset({"vm", "le"}),
                frozenset({frozenset({"vm", "le"})}),
            ),
        ),
        (
            "a:b:c offset 1h * on (job) group_left () (y[1d] or vector(0))",
            Named(frozenset({"a:b:c", "y"}), frozenset(), frozenset({"job"})),
        ),
        (
            "max by (vm) (a) / on (job) sum by(vm,job) (a)",
            Named(
                frozenset({"a"}),
                frozenset(),
                frozenset({"vm", "job"}),
                frozenset({frozenset({"vm"}), frozenset({"vm", "job"})}),
            ),
        ),
        (
            'count({__name__=~"kvm_.+"}) unless topk(3, z)',
            Named(frozenset({"z"}), frozenset({("", "__name__")}), frozenset()),
        ),
    ],
)
def test_queries_are_read(promql: str, expected: Named) -> None:
    """Metrics, matchers and groupings, and nothing else."""
    assert named(promql) == expected
