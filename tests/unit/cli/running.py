# SPDX-License-Identifier: Apache-2.0
"""Runs the command line in this process and reads what it printed."""

from collections.abc import Iterable, Sequence

import click
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from kvmexporter.cli.main import cli, main


def run(
    capsys: pytest.CaptureFixture[str], arguments: Sequence[str]
) -> tuple[int | str | None, str, str]:
    """Exit code, output, errors."""
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    output = capsys.readouterr()
    return caught.value.code, output.out, output.err


def flags(command: str) -> dict[str, click.Option]:
    """Every spelling of every option."""
    found = cli.commands[command]
    return {
        spelling: option
        for option in found.params
        if isinstance(option, click.Option)
        for spelling in (*option.opts, *option.secondary_opts)
    }


def dumped(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    code, out, err = run(capsys, ["dump", "--no-bpf", "--duration", "0", *arguments])
    assert (code, err) == (0, "")
    return out


def metric_families(text: str) -> Iterable[Metric]:
    return parse_openmetrics(text)  # type: ignore[no-untyped-call,no-any-return] # no hints
