# SPDX-License-Identifier: Apache-2.0
"""`docs/metrics.md`: every metric that a collector declares, in words."""

from collections.abc import Iterable
from typing import Any

from kvmexporter import sampler
from kvmexporter.collector import Collector
from kvmexporter.model.histogram import Histogram
from kvmexporter.model.metrics import RARE_BELOW, RARE_BELOW_A_SECOND, Kind, Metric
from kvmexporter.registry import COLLECTORS

_UNITS = ("seconds", "bytes", "ratio", "hertz")
# _sum and _count, and what `shown_buckets` makes of the buckets that BPF keeps.
_BOUNDS = [bound for bound, _ in Histogram((0,) * 24, 0).shown_buckets()]
_HISTOGRAM_SERIES = 2 + len(_BOUNDS)
_SHOWN = ", ".join(f"{bound * 1e6:,.0f} µs" for bound in _BOUNDS[:-1])

_HEAD = f"""\
# Metrics

Made from the collectors' own declarations by `make dashboards`, which `make docs`
runs, too; do not edit.

The prefix says who saw it: `kvm_vm_` a VM seen from its host, `kvm_host_` the host, `kvm_guest_`
this system as a guest, `kvmexporter_` and `process_` the exporter. *Series* says how many a VM (or
the host, for metrics without `vm`) costs: one for each combination of the named labels that has
occurred, times {_HISTOGRAM_SERIES} for a histogram (buckets up to {_SHOWN}
and beyond, sum and count). What never happened has no series.

A VM with five devices is meant to have at most 150 series. What would make them more is served only
on demand, by the flags that the tables name or by `--metrics.all` for all of them (per-vcpu
excepted). *from {RARE_BELOW:,} on*: a kind of event has a series once there were so many, with all
of them in it; what firmware and a booting guest do a few times would be most series otherwise. Of a
VM whose events are counted for more than a day, that takes one in {1 / RARE_BELOW_A_SECOND:.0f}
seconds: one that goes on for months has done a thousand times all that it ever does.
`kvmexporter dump` and `top` show everything anyway.
"""


def render() -> str:
    """The whole document."""
    sections = [_section(kind.name, _cost(kind), kind.metrics) for kind in COLLECTORS]
    always = _section("every collector", "Always on.", sampler.METRICS)
    return "\n".join((_HEAD, *sections, always))


def unit(metric: Metric) -> str:
    """The unit of a metric's value; empty for a bare number."""
    word = metric.name.removesuffix("_total").rpartition("_")[2]
    if word in _UNITS:
        return word
    return {Kind.COUNTER: "events", Kind.INFO: "always 1"}.get(metric.kind, "")


def series(metric: Metric) -> str:
    """What the metric costs, in series a VM or a host."""
    labels = [label for label in metric.labels if label != "vm"]
    times = f"{_HISTOGRAM_SERIES}" if metric.kind is Kind.HISTOGRAM else "1"
    if metric.buckets:
        times = f"2 ({times} with `--collector.{metric.buckets}`)"
    if labels and (metric.kind is not Kind.INFO or "device" in labels):
        times = f"{times} per {', '.join(labels)}"
    if metric.rare:
        times = f"{times}, from {RARE_BELOW:,} on (all with `--collector.{metric.rare}`)"
    if metric.more:
        times = f"{times} (more with `--collector.{metric.more}`)"
    if metric.usual:
        usual = ", ".join(sorted(metric.usual))
        return f"{times}: {usual}; others with `--collector.{metric.extra}`"
    return f"{times}, with `--collector.{metric.extra}`" if metric.extra else times


def _cost(kind: type[Collector[Any]]) -> str:
    state = "on by default" if kind.default else "off by default"
    flag = f"`--{'no-' if kind.default else ''}collector.{kind.name}`"
    bpf = "; needs BPF" if kind.needs_bpf else ""
    return f"{kind.summary[0].upper()}{kind.summary[1:]}. {state.capitalize()} ({flag}){bpf}."


def _section(name: str, cost: str, metrics: Iterable[Metric]) -> str:
    lines = [f"## {name}", "", cost, ""]
    lines += ["| metric | type | labels | unit | series | meaning | source |"]
    lines += ["| --- | --- | --- | --- | --- | --- | --- |"]
    for metric in metrics:
        cells = (
            f"`{metric.name}`",
            metric.kind,
            ", ".join(f"`{label}`" for label in metric.labels),
            unit(metric),
            series(metric),
            metric.help,
            metric.source,
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"
