# SPDX-License-Identifier: Apache-2.0
"""Metrics without a table of their own, as short lines: what a collector declares shows up."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kvmexporter.model.histogram import Histogram
from kvmexporter.model.metrics import Family, Kind, Metric, Sample, Value
from kvmexporter.views import quantities, topics
from kvmexporter.views.rates import Series

_MOST_LINES = 40


@dataclass(frozen=True, slots=True)
class Fact:
    """One line: what it is, of which part of the subject, and the value."""

    what: str
    of: str
    value: str


def facts(
    families: Iterable[Family],
    moved: Mapping[Series, Value],
    seconds: float | None,
    vm: str | None = None,
) -> tuple[Fact, ...]:
    """The lines for some metrics, in their order.

    Args:
        families: the metrics.
        moved: how far counters and histograms moved, by metric and labels.
        seconds: in what time; None: values are totals. What did not move then is left out.
        vm: only this VM's series, without that label.
    """
    result: list[Fact] = []
    for family in families:
        samples = [one for one in family.samples if vm is None or one.labels[:1] == (vm,)]
        labels = family.metric.labels[1:] if vm is not None else family.metric.labels
        skip = len(family.metric.labels) - len(labels)
        of_metric = _of(family.metric, labels, skip, samples, moved, seconds)
        result += of_metric[:_MOST_LINES]
        if len(of_metric) > _MOST_LINES:
            result.append(Fact(_title(family.metric), f"{len(of_metric) - _MOST_LINES} more", "…"))
    return tuple(result)


def _of(
    metric: Metric,
    labels: Sequence[str],
    skip: int,
    samples: Sequence[Sample],
    moved: Mapping[Series, Value],
    seconds: float | None,
) -> list[Fact]:
    title = _title(metric)
    if metric.kind is Kind.INFO:
        return [_info(title, labels, one.labels[skip:]) for one in samples if any(one.labels)]
    if labels and _is_question(metric, samples):
        return _answers(title, skip, samples)
    result = []
    for one in samples:
        value = moved.get((metric.name, one.labels), one.value)
        happened = value.count if isinstance(value, Histogram) else value
        if metric.kind in (Kind.COUNTER, Kind.HISTOGRAM) and not happened:
            continue
        text = (
            ("yes" if value else "no")
            if _is_question(metric, [one])
            else quantities.value(metric, value, seconds)
        )
        result.append(Fact(title, " ".join(one.labels[skip:]), text))
    return result


def _info(title: str, labels: Sequence[str], values: Sequence[str]) -> Fact:
    """What it is called, and what is said of it."""
    if len(labels) == 1 or not values[0]:
        return Fact(title, "", _pairs(labels, values))
    return Fact(title, values[0], _pairs(labels[1:], values[1:], always=True))


def _title(metric: Metric) -> str:
    return quantities.title(metric, topics.prefixes())


def _is_question(metric: Metric, samples: Sequence[Sample]) -> bool:
    """Whether it says yes or no: its help begins so."""
    return (
        metric.kind is Kind.GAUGE
        and metric.help.startswith(("Whether ", "A feature "))
        and all(one.value in (0, 1) for one in samples)
    )


def _answers(title: str, skip: int, samples: Sequence[Sample]) -> list[Fact]:
    """One line for all that differ in the last label alone."""
    groups: defaultdict[tuple[str, ...], dict[bool, list[str]]] = defaultdict(dict)
    for one in samples:
        *group, last = one.labels[skip:]
        groups[tuple(group)].setdefault(bool(one.value), []).append(last)
    result = []
    for names, by_answer in groups.items():
        parts = [
            f"{word}: {', '.join(by_answer[answer])}"
            for answer, word in ((True, "yes"), (False, "no"))
            if answer in by_answer
        ]
        result.append(Fact(title, " ".join(names), "; ".join(parts)))
    return result


def _pairs(labels: Sequence[str], values: Sequence[str], always: bool = False) -> str:
    """Label values, each with its label where there can be several."""
    given = [(label, value) for label, value in zip(labels, values, strict=True) if value]
    if len(labels) == 1 and not always:
        return " ".join(values)
    return " ".join(f"{label}={value}" for label, value in given)
