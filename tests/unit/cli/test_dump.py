# SPDX-License-Identifier: Apache-2.0
"""What `dump` prints."""

import json
import os

import pytest

from kvmexporter import __version__
from tests.unit.cli.running import dumped, metric_families, run


def test_no_duration_is_not_a_number(capsys: pytest.CaptureFixture[str]) -> None:
    """It is no number of seconds."""
    assert run(capsys, ["dump", "--no-bpf", "--duration", "nan"])[0] == 2


def test_dump_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    """What is not there says why."""
    out = dumped(capsys)
    assert "BPF is turned off: leave out --no-bpf" in out


def test_dump_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    """One document."""
    document = json.loads(dumped(capsys, "--format", "json"))
    assert document["version"] == __version__
    states = {one["name"]: one["state"] for one in document["collectors"]}
    assert states["exits"] == "unavailable"
    assert states["exporter"] == "ok"


def test_dump_as_openmetrics(capsys: pytest.CaptureFixture[str]) -> None:
    """What would be served."""
    out = dumped(capsys, "--format", "openmetrics")
    families = {family.name for family in metric_families(out)}
    assert "kvmexporter_build_info" in families


def test_two_samples_make_rates(capsys: pytest.CaptureFixture[str]) -> None:
    """Only then is there a `per_second`."""
    arguments = ["dump", "--no-bpf", "--format", "json", "--duration"]
    _, once, _ = run(capsys, [*arguments, "0"])
    _, twice, _ = run(capsys, [*arguments, "0.01"])
    assert "per_second" not in once
    assert "per_second" in twice


def test_dump_as_html(capsys: pytest.CaptureFixture[str]) -> None:
    """One file."""
    out = dumped(capsys, "--format", "html")
    assert out.startswith("<!DOCTYPE html>")
    assert out.endswith("</html>\n")
    assert "http://" not in out


@pytest.mark.parametrize("form", ["text", "html"])
def test_a_ticket_says_which_system_it_is(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its name and kernel; redacted, the kernel alone."""
    system = os.uname()
    named = f"{system.nodename}, Linux {system.release}"
    assert named in dumped(capsys, "--format", form)
    redacted = dumped(capsys, "--format", form, "--redact")
    assert named not in redacted
    assert f"Linux {system.release}" in redacted


def test_only_some_collectors(capsys: pytest.CaptureFixture[str]) -> None:
    """Those named, asked for by that, and any whose own flag says so."""
    chosen = ("--collector", "exits", "--collector.exporter")
    document = json.loads(dumped(capsys, "--format", "json", *chosen))
    assert [one["name"] for one in document["collectors"]] == ["exits", "exporter"]
    success = [one for one in document["metrics"] if one["name"] == "kvmexporter_collector_success"]
    assert [one["labels"]["collector"] for one in success[0]["samples"]] == ["exits", "exporter"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--collector", "exist"], "'exist' is not one of"),
        (["--vm", "no such vm"], "no VM is called 'no such vm'"),
    ],
)
def test_what_is_not_there(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Is misuse: one line, nothing printed."""
    code, out, err = run(capsys, ["dump", "--no-bpf", "--duration", "0", *arguments])
    assert (code, out) == (2, "")
    assert complaint in err
    assert err.count("\n") == 1
