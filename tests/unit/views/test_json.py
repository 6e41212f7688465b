# SPDX-License-Identifier: Apache-2.0
"""The JSON document."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from kvmexporter import __version__
from kvmexporter.model.findings import Finding, Severity
from kvmexporter.sampler import Snapshot, State
from kvmexporter.views.json import render
from tests.unit.snapshots import (
    COUNTER,
    GAUGE,
    HISTOGRAM,
    HOSTILE_NAMES,
    INFO,
    family,
    histogram,
    snapshot,
    status,
    vm,
)
from tests.unit.views.samples import everything


def loaded(*arguments: Any) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(render(*arguments), parse_constant=refuse)


def test_everything() -> None:
    """The whole document, as the module's docstring describes it."""
    finding = Finding("rule", Severity.WARNING, "a", "nic", "seen", "matters", "remedy")
    given = snapshot(
        family(COUNTER, {("a", "x"): 2}),
        family(INFO, {("a", "1"): 1}),
        family(HISTOGRAM, {("a",): histogram({0: 1, 23: 2}, 1_500_000_000)}),
        statuses=[status("vms"), status("exits", State.UNAVAILABLE, "no bcc: install it")],
        findings=[finding],
        vms=[vm("a")],
    )
    document = loaded(given)
    buckets = document["metrics"][2]["samples"][0]["value"].pop("buckets")
    assert document == {
        "format": 1,
        "time": 1.7e9,
        "seconds": None,
        "version": __version__,
        "vms": [
            {"name": "a", "vmm": "qemu", "pid": 10, "identified_by": "qemu", "uuid": "",
             "version": "", "machine": "", "cpu_model": "", "vcpus": 2,
             "memory_max_bytes": None},
        ],
        "collectors": [
            {"name": "vms", "summary": "what vms gives", "state": "ok", "detail": "",
             "seconds": 0.25},
            {"name": "exits", "summary": "what exits gives", "state": "unavailable",
             "detail": "no bcc: install it", "seconds": 0.25},
        ],
        "findings": [
            {"rule": "rule", "severity": "warning", "vm": "a", "subject": "nic", "seen": "seen",
             "matters": "matters", "remedy": "remedy"},
        ],
        "unknown_addresses": [],
        "metrics": [
            {"name": "kvm_vm_test_total", "type": "counter", "help": "Tests run.",
             "samples": [{"labels": {"vm": "a", "reason": "x"}, "value": 2}]},
            {"name": "kvm_vm_test_info", "type": "info", "help": "What is tested.",
             "samples": [{"labels": {"vm": "a", "version": "1"}, "value": 1}]},
            {"name": "kvm_vm_test_seconds", "type": "histogram", "help": "Time that tests took.",
             "samples": [{"labels": {"vm": "a"}, "value": {"count": 3, "sum": 1.5}}]},
        ],
    }  # fmt: skip
    assert buckets[0] == [8.192e-6, 1]
    assert buckets[-1] == ["+Inf", 3]
    assert [count for _, count in buckets] == [1] * 4 + [3]


def test_per_second() -> None:
    """Of counters, since the earlier snapshot; of nothing else."""
    earlier = snapshot(
        family(COUNTER, {("a", "x"): 100}),
        family(GAUGE, {("a",): 1}),
        family(HISTOGRAM, {("a",): histogram({0: 1}, 1)}),
        monotonic=100.0,
    )
    later = snapshot(
        family(COUNTER, {("a", "x"): 105, ("a", "new"): 7, ("a", "idle"): 0}),
        family(GAUGE, {("a",): 3}),
        family(HISTOGRAM, {("a",): histogram({0: 3}, 1)}),
        monotonic=102.5,
    )
    document = loaded(later, earlier)
    counter, gauge, times = (metric["samples"] for metric in document["metrics"])
    assert [sample["per_second"] for sample in counter] == [2.0, 2.8, 0.0]
    assert [sample["value"] for sample in counter] == [105, 7, 0]
    assert "per_second" not in gauge[0]
    assert "per_second" not in times[0]


def test_no_rates_from_one_snapshot() -> None:
    """There is nothing to compare with."""
    assert "per_second" not in render(snapshot(family(COUNTER, {("a", "x"): 100})))


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
def test_names_come_back_as_they_were(name: str) -> None:
    """Whatever is in them."""
    document = loaded(snapshot(family(GAUGE, {(name,): 1})))
    assert document["metrics"][0]["samples"][0]["labels"] == {"vm": name}


def test_an_empty_snapshot() -> None:
    """Is a document, too."""
    assert loaded(snapshot()) == {
        "format": 1,
        "time": 1.7e9,
        "seconds": None,
        "version": __version__,
        "vms": [],
        "collectors": [],
        "findings": [],
        "unknown_addresses": [],
        "metrics": [],
    }


SCHEMA = json.loads((Path(__file__).parents[3] / "docs" / "dump.schema.json").read_text())


@pytest.mark.parametrize(
    "taken",
    [(snapshot(),), (everything(),), (everything(3, 102.5), everything())],
    ids=["empty", "totals", "rates"],
)
def test_the_schema_holds(taken: tuple[Snapshot, ...]) -> None:
    """What is published describes what is printed."""
    Draft202012Validator.check_schema(SCHEMA)
    Draft202012Validator(SCHEMA).validate(loaded(*taken))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("format",), 2),
        (("seconds",), 0),
        (("vms", 0, "pid"), "11"),
        (("collectors", 0, "state"), "fine"),
        (("findings", 0, "severity"), "bad"),
        (("metrics", 0, "samples", 0, "value"), {"count": 1, "sum": 1, "buckets": []}),
        (("metrics", 1, "samples", 0, "value"), 3),
        (("metrics", 1, "samples", 0, "value", "buckets", 0), [1.0]),
    ],
)
def test_the_schema_tells_what_is_wrong(place: tuple[Any, ...], value: object) -> None:
    """A document that differs in one value does not hold to it."""
    document = loaded(everything())
    part = document
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    assert len(list(Draft202012Validator(SCHEMA).iter_errors(document))) >= 1


def test_the_schema_describes_all_members() -> None:
    """None is printed that it does not name."""
    document = loaded(everything(2, 101.0), everything())
    assert set(document) == set(SCHEMA["properties"])
    listed = {
        "vms": "vm",
        "collectors": "collector",
        "findings": "finding",
        "unknown_addresses": "unknown_address",
        "metrics": "metric",
    }
    for members, kind in listed.items():
        for one in document[members]:
            assert set(one) == set(SCHEMA["$defs"][kind]["properties"])
