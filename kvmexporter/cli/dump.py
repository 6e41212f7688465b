# SPDX-License-Identifier: Apache-2.0
"""`kvmexporter dump`."""

import math
import os
import time
from collections.abc import Sequence
from typing import Any

import click

from kvmexporter.cli.options import option, shared_options
from kvmexporter.cli.session import session
from kvmexporter.errors import UsageError
from kvmexporter.registry import COLLECTORS
from kvmexporter.sampler import Sampler, Snapshot
from kvmexporter.views import selection
from kvmexporter.views.history import MOST_POINTS, History
from kvmexporter.views.redaction import Redaction

FORMATS = ("text", "json", "openmetrics", "html")
_VISITS_SECONDS = 5.0
_LEAST_SECONDS = 0.25


@click.command()
@option("--vm", multiple=True, help="Only this VM, and the host; may be repeated.")
@option("--collector", multiple=True, type=click.Choice([kind.name for kind in COLLECTORS]),
        help="Only this collector; may be repeated.")  # fmt: skip
@option("--redact/--no-redact", default=False, show_default=True,
        help="Replace names, uuids and addresses, each by the same word everywhere.")  # fmt: skip
@option("--duration", type=click.FloatRange(0, 3600), default=1.0, show_default=True,
        help="Seconds between two samples, for rates; 0 takes one sample.")  # fmt: skip
@option("--format", type=click.Choice(FORMATS), default="text", show_default=True,
        help="How to print it; html: one file with charts, to attach to a ticket.")  # fmt: skip
@shared_options
def dump(
    vm: Sequence[str],
    collector: Sequence[str],
    redact: bool,
    duration: float,
    format: str,  # noqa: A002 - the flag's name
    **shared: Any,
) -> None:
    """Print a one-shot diagnosis."""
    if not math.isfinite(duration):
        raise UsageError(f"--duration {duration} is not a number of seconds")
    shared["log_level"] = _quieter(shared["log_level"])
    if collector:
        _choose(collector, shared)
    with session(shared) as (sources, sampler):
        sources.addressing.settle(_VISITS_SECONDS)
        if sources.agents:
            sources.agents.settle(_VISITS_SECONDS)
        samples = _Samples(sampler, duration, redact)
        selection.require(samples.first, vm)
        samples.take()
    print_as(format, selection.only(samples.last, samples.renamed(vm)), samples, _where(redact))


def _where(redact: bool) -> str:
    """Which system this is; its name is nobody's business where names are not."""
    system = os.uname()
    kernel = f"{system.sysname} {system.release}"
    return kernel if redact else f"{system.nodename}, {kernel}"


class _Samples:
    """What is sampled from the beginning to the end, and redacted before anybody sees it."""

    def __init__(self, sampler: Sampler, duration: float, redact: bool) -> None:
        self._sampler = sampler
        self._duration = duration
        self._redaction = Redaction() if redact else None
        self.first = sampler.snapshot()
        self.earlier: Snapshot | None = None
        self.last = self.first
        self.past = History(max(duration / (MOST_POINTS - 1), _LEAST_SECONDS))

    def take(self) -> None:
        """Sample until the time is over."""
        if self._duration:
            self.earlier = self._seen(self.first)
            step = max(self._duration / (MOST_POINTS - 1), _LEAST_SECONDS)
            end = time.monotonic() + self._duration
            while (left := end - time.monotonic()) > 0:
                time.sleep(min(step, left))
                self.last = self._sampler.snapshot()
                self.past.observe(self._seen(self.last))
        self.last = self._seen(self.last)

    def renamed(self, names: Sequence[str]) -> list[str]:
        """VMs' names as they are in the snapshots."""
        return [self._redaction.vm(name) for name in names] if self._redaction else list(names)

    def _seen(self, snapshot: Snapshot) -> Snapshot:
        return self._redaction.apply(snapshot) if self._redaction else snapshot


def print_as(form: str, snapshot: Snapshot, samples: _Samples, where: str) -> None:
    """Write the diagnosis to standard output."""
    from kvmexporter.views import exposition, html, json, text

    match form:
        case "json":
            click.echo(json.render(snapshot, samples.earlier))
        case "openmetrics":
            click.echo(exposition.render_openmetrics(snapshot), nl=False)
        case "html":
            click.echo(html.render(snapshot, samples.earlier, samples.past, where), nl=False)
        case _:
            click.echo(text.render(snapshot, samples.earlier, where), nl=False)


def _choose(names: Sequence[str], shared: dict[str, Any]) -> None:
    """Turn on these collectors and no others, but for those whose own flag says so."""
    for kind in COLLECTORS:
        flag = f"collector_{kind.name}"
        if kind.name in names or shared[flag] is None:
            shared[flag] = kind.name in names


def _quieter(level: str) -> str:
    """What is worth a line beside a diagnosis: it tells the rest itself."""
    return "error" if level == "info" else level
