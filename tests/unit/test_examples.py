# SPDX-License-Identifier: Apache-2.0
"""The example configuration of a large site does what its comments and `docs/scale.md` say."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from dashboards.generate.queries import named
from dashboards.generate.recording import RECORDINGS
from tests.bench import examples
from tests.unit import golden
from tests.unit.dashboards.test_queries import DECLARED, QUERIES, labels_of

RULES = examples.EXAMPLES / "recording-rules.yml"
SHIPPED = Path(__file__).parents[2] / "dashboards" / "alerts" / "prometheus"
OWN = {
    rule["record"]: rule["expr"]
    for group in examples.configuration(RULES)["groups"]
    for rule in group["rules"]
}
DROPPED = {
    "kvm_vm_unserved_events",
    "kvm_vm_exit_handling_seconds_bucket",
    "kvm_vm_io_handling_seconds_bucket",
    "kvm_vm_halt_seconds_bucket",
}
TARGET = {"job": "kvmexporter", "instance": "host-1"}


def promtool(*arguments: str | Path) -> None:
    done = subprocess.run(["promtool", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    "command",
    [
        ("check", "config", "--agent", examples.AGENT),
        ("check", "config", examples.SITE),
        ("check", "rules", RULES),
    ],
    ids=lambda command: command[-1].name,
)
def test_promtool_accepts_it(command: tuple[str | Path, ...]) -> None:
    """Prometheus starts with it; of the site's, with its rules."""
    promtool(*command)


def test_a_site_evaluates_the_shipped_rules_and_its_own() -> None:
    """Those that dashboards and alerts rest on, and what the example adds."""
    expected = [SHIPPED / "recording.rules.yml", SHIPPED / "alerts.rules.yml", RULES]
    assert examples.rule_files() == expected


def test_no_record_has_a_shipped_name() -> None:
    """Two expressions under one name are two series in one."""
    assert OWN.keys() & {one.record for one in RECORDINGS} == set()
    records = [one.record for one in examples.recorded()]
    assert len(records) == len(set(records)) == len(OWN) + len(RECORDINGS)


@pytest.mark.parametrize("record", OWN)
def test_a_rule_names_what_some_collector_declares(record: str) -> None:
    """Its metrics, and the labels it groups by, which are the level that its name begins with."""
    found = named(OWN[record])
    assert sorted(found.metrics - DECLARED.keys()) == []
    labels = {label for name in found.metrics for label in labels_of(name)} | TARGET.keys()
    assert found.grouped <= labels
    level = record.partition(":")[0].split("_")
    assert found.grouped - TARGET.keys() == set(level) - {"instance"}


def test_agents_drop_what_nobody_asks_for() -> None:
    """Of all that collectors declare; no panel, alert or rule misses it."""
    relabelling = examples.scrape()["metric_relabel_configs"]
    dropped = {name for name in DECLARED if not examples.keeps(relabelling, {"__name__": name})}
    assert dropped == DROPPED
    for who, promql in (*QUERIES, *OWN.items()):
        assert named(promql).metrics & dropped == set(), who


def test_agents_keep_the_rest_of_a_scrape() -> None:
    """Of the golden scrape, accesses of a VM that cannot be asked, whose path is unknown, too."""
    relabelling = examples.scrape()["metric_relabel_configs"]
    text = golden.path("metrics.txt").read_text()
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    dropped = {
        one.name
        for one in samples
        if not examples.keeps(relabelling, {**one.labels, "__name__": one.name})
    }
    assert dropped == DROPPED & {one.name for one in samples} != set()
    unknown = {one.name for one in samples if one.labels.get("path") == "unknown"} - dropped
    assert {"kvm_vm_io_handling_seconds_sum", "kvm_vm_io_handling_seconds_count"} < unknown


def test_recorded_series_alone_go_far() -> None:
    """All that the site's rules record, and nothing that is scraped or that Prometheus makes."""
    sent = [
        one.record
        for one in examples.recorded()
        if examples.keeps(examples.far(), {"__name__": one.record})
    ]
    assert sent == [one.record for one in examples.recorded()]
    for name in DECLARED:
        assert not examples.keeps(examples.far(), {"__name__": name}), name


def test_a_site_takes_what_agents_send() -> None:
    """Both ends are Prometheus's own receiver, which has to be asked for."""
    (near,) = examples.configuration(examples.AGENT)["remote_write"]
    assert near["url"].endswith("/api/v1/write")
    assert "write_relabel_configs" not in near
    assert "--web.enable-remote-write-receiver" in examples.SITE.read_text()


@pytest.mark.parametrize(
    ("action", "labels", "kept"),
    [
        ("keep", {"a": "x", "b": "y"}, True),
        ("keep", {"a": "x", "b": "yy"}, False),  # whole values, not parts
        ("keep", {"a": "x"}, False),
        ("drop", {"a": "x", "b": "y"}, False),
        ("drop", {"b": "y"}, True),
    ],
)
def test_relabelling(action: str, labels: dict[str, str], kept: bool) -> None:
    """As Prometheus does it: values joined by semicolons, matched from end to end."""
    relabelling = [{"source_labels": ["a", "b"], "regex": "x;y", "action": action}]
    assert examples.keeps(relabelling, labels) is kept


def series(name: str, labels: dict[str, str]) -> str:
    inside = ",".join(f'{key}="{value}"' for key, value in labels.items())
    return f"{name}{{{inside}}}"


def check_rules(directory: Path, given: dict[str, str], asked: dict[str, dict[str, float]]) -> None:
    """Let promtool evaluate a site's recording rules.

    Args:
        directory: where to.
        given: series → its values every half minute.
        asked: query → series → value, after half an hour.
    """
    test: dict[str, Any] = {
        "interval": "30s",
        "input_series": [{"series": one, "values": values} for one, values in given.items()],
        "promql_expr_test": [
            {
                "expr": query,
                "eval_time": "30m",
                "exp_samples": [{"labels": one, "value": value} for one, value in found.items()],
            }
            for query, found in asked.items()
        ],
    }
    path = directory / "rules.test.yml"
    files = [str(one) for one in examples.rule_files() if not one.name.startswith("alerts")]
    path.write_text(yaml.safe_dump({"rule_files": files, "tests": [test]}))
    promtool("test", "rules", path)


def test_the_rules_add_up(tmp_path: Path) -> None:
    """By class, by path and handler, and of a host: rates of two VMs that are known."""
    given = {}
    for name, labels, each in (
        ("kvm_vm_exits_total", {"reason": "io", "class": "io"}, 30),
        ("kvm_vm_exits_total", {"reason": "npf", "class": "page_fault"}, 60),
        ("kvm_vm_exits_total", {"reason": "nested", "class": "page_fault"}, 90),
        ("kvm_vm_io_exits_total", {"device": "a", "path": "virtio", "handler": "kernel"}, 30),
        ("kvm_vm_io_exits_total", {"device": "b", "path": "virtio", "handler": "kernel"}, 210),
        ("kvm_vm_run_delay_seconds_total", {}, 3),
    ):
        for vm in ("web", "db"):
            given[series(name, {**TARGET, "vm": vm, **labels})] = f"0+{each}x80"
    for vm in ("web", "db"):
        given[series("kvm_vm_info", {**TARGET, "vm": vm, "uuid": f"uuid-of-{vm}"})] = "1x80"
    by_vm = {**TARGET, "vm": "web"}
    asked: dict[str, dict[str, float]] = {
        'vm_class:kvm_vm_exits:rate5m{vm="web"}': {
            series("vm_class:kvm_vm_exits:rate5m", {**by_vm, "class": "io"}): 1,
            series("vm_class:kvm_vm_exits:rate5m", {**by_vm, "class": "page_fault"}): 5,
        },
        'vm_path_handler:kvm_vm_io_exits:rate5m{vm="web"}': {
            series(
                "vm_path_handler:kvm_vm_io_exits:rate5m",
                {**by_vm, "path": "virtio", "handler": "kernel"},
            ): 8,
        },
        "instance:kvm_vm_exits:rate5m": {series("instance:kvm_vm_exits:rate5m", TARGET): 12},
        "instance:kvm_vm_run_delay_seconds:rate5m": {
            series("instance:kvm_vm_run_delay_seconds:rate5m", TARGET): 0.2
        },
        "instance:kvm_vm_info:count": {series("instance:kvm_vm_info:count", TARGET): 2},
    }
    check_rules(tmp_path, given, asked)


def test_prometheus_records_as_many_series_as_are_counted(tmp_path: Path) -> None:
    """By each rule of VMs, of the recorded guest with what its recording lacks."""
    vm = {**TARGET, "vm": "linux-guest"}
    given = {
        series(name, {**TARGET, **labels}): f"{value}+7x80"
        for name, labels, value in examples.served()
    }
    for bucket, labels in (
        ("kvm_vm_exit_stall_seconds_bucket", vm),
        ("kvm_vm_timer_lateness_seconds_bucket", vm),
    ):
        given[series(bucket, {**labels, "le": "0.001"})] = "0+5x80"
        given[series(bucket, {**labels, "le": "+Inf"})] = "0+7x80"
    given[series("kvm_vm_clock_offset_seconds", {**vm, "source": "agent"})] = "0+1x80"
    parameter = {**TARGET, "module": "kvm", "parameter": "halt_poll_ns"}
    given[series("kvm_host_module_parameter", parameter)] = "200000x80"
    of_vms = [one for one in examples.recorded() if one.of_vm]
    query = 'count by (__name__) ({__name__=~"vm.*:.+"})'
    check_rules(tmp_path, given, {query: {one.record: one.series for one in of_vms}})
