# SPDX-License-Identifier: Apache-2.0
"""Which collectors run, and what is logged of them."""

import json
import logging
from collections.abc import Sequence

import pytest

from tests.unit.cli.running import dumped, metric_families


@pytest.mark.parametrize(
    ("arguments", "given"),
    [
        ([], None),
        (["--collector.exits"], 0.0),
        (["--no-collector.exits"], None),
    ],
)
def test_success_of_what_was_asked_for(
    arguments: Sequence[str], given: float | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """A collector that has nothing to read has failed only who asked for it by name."""
    out = dumped(capsys, "--format", "openmetrics", *arguments)
    found = {
        sample.labels["collector"]: sample.value
        for family in metric_families(out)
        if family.name == "kvmexporter_collector_success"
        for sample in family.samples
    }
    assert found.get("exits") == given
    assert found["vms"] == 1.0


def test_a_collector_that_is_off_is_not_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By flag and by variable."""
    monkeypatch.setenv("KVMEXPORTER_COLLECTOR_IO", "false")
    document = json.loads(dumped(capsys, "--format", "json", "--no-collector.exporter"))
    names = {one["name"] for one in document["collectors"]}
    assert not names & {"io", "exporter"}
    assert {"vms", "exits"} <= names


def test_log_lines_are_as_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """A format for machines, and only what is severe beside a diagnosis."""
    dumped(capsys, "--log.format", "json")
    logging.getLogger("kvmexporter").error("trouble")
    assert json.loads(capsys.readouterr().err)["msg"] == "trouble"
    logging.getLogger("kvmexporter").warning("not worth a line here")
    assert capsys.readouterr().err == ""


def test_ignored_findings(capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever this system's findings are: without one rule's, the others' are left."""

    def told(*arguments: str) -> list[dict[str, str]]:
        document = json.loads(dumped(capsys, "--role", "both", "--format", "json", *arguments))
        found: list[dict[str, str]] = document["findings"]
        return found

    rules = {finding["rule"] for finding in told()}
    ignored = "guest-without-host-clock"
    assert ignored in rules
    assert {finding["rule"] for finding in told("--ignore", ignored)} == rules - {ignored}
    assert {one["rule"] for one in told("--ignore", f"{ignored}:no such VM")} == rules
