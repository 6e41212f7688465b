# SPDX-License-Identifier: Apache-2.0
"""A family as lines of text, in either of Prometheus's formats: about 1 µs a series.

prometheus-client's encoders, whose bytes these are, take ten times as long and keep a
dozen objects for each series.
"""

import functools
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import accumulate
from math import inf
from operator import itemgetter

from prometheus_client.utils import floatToGoString

from kvmexporter.model.histogram import Histogram, shown_bounds
from kvmexporter.model.metrics import Family, Kind, Metric, Sample, Value
from kvmexporter.model.serving import has_buckets, served
from kvmexporter.units import ns_to_seconds

_CHUNK = 512
_PLAIN_BELOW = 1_000_000  # from there on, exponents
_BOUND = "le"
_WITHOUT_BUCKETS = "summary"
_COUNT_AND_SUM = (("_count", ""), ("_sum", ""))


def chunks(family: Family, *, openmetrics: bool, extras: Collection[str] = ()) -> Iterator[str]:
    """The lines of a family, some hundreds at a time.

    Args:
        family: what is served of it.
        openmetrics: which of the formats.
        extras: what is served beyond the usual, as `collector.extra`.

    Raises:
        TypeError: a value is not of the metric's kind.
    """
    metric = family.metric
    samples = served(family, extras)
    if not samples:
        return
    buckets = has_buckets(metric, extras)
    yield _head(metric, openmetrics=openmetrics, buckets=buckets)
    lines = _number_lines
    if metric.kind is Kind.HISTOGRAM:
        lines = _histogram_lines if buckets else _summary_lines
    for first in range(0, len(samples), _CHUNK):
        yield lines(metric, samples[first : first + _CHUNK])


def _head(metric: Metric, *, openmetrics: bool, buckets: bool) -> str:
    counter = metric.kind is Kind.COUNTER
    name = metric.name.removesuffix("_total") if counter and openmetrics else metric.name
    text = metric.help.replace("\\", r"\\").replace("\n", r"\n")
    if openmetrics:
        text = text.replace('"', r"\"")
    kind: str = Kind.GAUGE if metric.kind is Kind.INFO else metric.kind
    if metric.kind is Kind.HISTOGRAM and not buckets:
        kind = _WITHOUT_BUCKETS
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


_Values = Sequence[str]
"""What the lines of one sample say, in their order."""


class _Template:
    """The lines of a metric's sample as text, with a place for each label and each value.

    Args:
        name: of the metric.
        names: of the labels, in the order of the declaration.
        lines: how each line's name ends, and the bound of its bucket, "" without one.
    """

    def __init__(
        self, name: str, names: tuple[str, ...], lines: tuple[tuple[str, str], ...]
    ) -> None:
        order = sorted(range(len(names)), key=names.__getitem__)
        self._pick = _picker(order)
        self._text = ""
        self._quotes = 0
        for ending, bound in lines:
            parts = [(names[place], '="%s"') for place in order]
            parts += [(_BOUND, f'="{bound}"')] if bound else []
            labels = ",".join(label + value for label, value in sorted(parts))
            self._text += f"{name}{ending}{{{labels}}} %s\n" if parts else f"{name}{ending} %s\n"
            self._quotes += 2 * len(parts)
        self._lines = len(lines)

    def fill(self, samples: Sequence[Sample], rows: Sequence[_Values]) -> str:
        """The lines of these samples."""
        count = len(samples)
        text = self._text * count % self._words(samples, rows)
        # One look at all, of which only a hostile VM's need more.
        if (
            "\\" not in text
            and text.count("\n") == count * self._lines
            and text.count('"') == count * self._quotes
        ):
            return text
        escaped = [Sample(tuple(map(_escaped, one.labels)), one.value) for one in samples]
        return self._text * count % self._words(escaped, rows)

    def _words(self, samples: Sequence[Sample], rows: Sequence[_Values]) -> tuple[str, ...]:
        pick = self._pick
        words: list[str] = []
        for sample, row in zip(samples, rows, strict=True):
            labels = pick(sample[0])
            for value in row:
                words += labels
                words.append(value)
        return tuple(words)


def _picker(order: Sequence[int]) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    """What puts a tuple in this order."""
    return tuple if list(order) == list(range(len(order))) else itemgetter(*order)


@functools.lru_cache(maxsize=1024)
def _template(
    name: str, names: tuple[str, ...], lines: tuple[tuple[str, str], ...] = (("", ""),)
) -> _Template:
    return _Template(name, names, lines)


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _number_lines(metric: Metric, samples: list[Sample]) -> str:
    rows = [(_number(value),) for _, value in samples]
    return _template(metric.name, metric.labels).fill(samples, rows)


def _summary_lines(metric: Metric, samples: list[Sample]) -> str:
    rows = [
        (_number(value.count), _number(ns_to_seconds(value.sum_ns)))
        for value in _histograms(metric, samples)
    ]
    return _template(metric.name, metric.labels, _COUNT_AND_SUM).fill(samples, rows)


def _histogram_lines(metric: Metric, samples: list[Sample]) -> str:
    values = _histograms(metric, samples)
    bounds = _bounds(len(values[0].counts))
    rows = []
    for value in values:
        seen = list(accumulate(value.counts))
        rows.append(
            (
                *[_number(seen[bucket]) for bucket, _ in bounds],
                _number(seen[-1]),
                _number(ns_to_seconds(value.sum_ns)),
            )
        )
    lines = (*(("_bucket", bound) for _, bound in bounds), *_COUNT_AND_SUM)
    return _template(metric.name, metric.labels, lines).fill(samples, rows)


def _histograms(metric: Metric, samples: list[Sample]) -> list[Histogram]:
    values = []
    for _, value in samples:
        if not isinstance(value, Histogram):
            raise TypeError(f"{metric.name}: {value!r} is no histogram")
        values.append(value)
    return values


@functools.lru_cache(maxsize=16)
def _bounds(buckets: int) -> tuple[tuple[int, str], ...]:
    """The buckets that are shown: their number, and their bound as text."""
    return tuple((bucket, _number(bound)) for bucket, bound in shown_bounds(buckets))


def _number(value: Value) -> str:
    # The type first: most are small counts, and there are tens of thousands of them.
    if type(value) is int and 0 <= value < _PLAIN_BELOW:
        return f"{value}.0"
    if isinstance(value, Histogram):
        raise TypeError(f"{value!r} is no number")
    if type(value) is float and 0 <= value < _PLAIN_BELOW:
        return repr(value)
    if value == inf:
        return "+Inf"
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call] # it has no hints
    return text
