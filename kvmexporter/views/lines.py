# SPDX-License-Identifier: Apache-2.0
"""A family as lines of text, in either of Prometheus's formats: some 0.5 µs a series.

prometheus-client's encoders, whose bytes these are, take ten times as long and keep a
dozen objects for each series.
"""

import functools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import accumulate, chain
from math import inf
from operator import itemgetter

from prometheus_client.utils import floatToGoString

from kvmexporter.model.histogram import Histogram, shown_bounds
from kvmexporter.model.metrics import Family, Kind, Metric, Value
from kvmexporter.model.serving import has_buckets, served
from kvmexporter.units import ns_to_seconds

_CHUNK = 512
_PLAIN_BELOW = 1_000_000  # from there on, exponents
_EXACT_BELOW = 10**15  # from there on, a float has fewer digits
_EXPONENTS = tuple(f"e+{digits - 1:02}" for digits in range(17))  # by the digits of a number
_BOUND = "le"
_SUMMARY = "summary"


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
    family = served(family, extras)
    if not len(family):
        return
    buckets = has_buckets(metric, extras)
    yield _head(metric, openmetrics=openmetrics, buckets=buckets)
    try:
        yield from _lines_of(family, _shape(metric, family, buckets=buckets))
    except TypeError as err:
        raise TypeError(f"{metric.name}: {err}") from None


def _lines_of(family: Family, shape: "_Shape") -> Iterator[str]:
    metric = family.metric
    for first in range(0, len(family.labels), _CHUNK):
        part = slice(first, first + _CHUNK)
        yield shape.template(metric).fill(
            family.labels[part], [shape.words(value) for value in family.values[part]]
        )
    lines: list[str] = []
    for first_labels, values in family.groups:
        lines += shape.group(metric, first_labels, values)
        if len(lines) >= _CHUNK:
            yield "".join(lines)
            lines.clear()
    yield "".join(lines)


def _head(metric: Metric, *, openmetrics: bool, buckets: bool) -> str:
    counter = metric.kind is Kind.COUNTER
    name = metric.name.removesuffix("_total") if counter and openmetrics else metric.name
    text = metric.help.replace("\\", r"\\").replace("\n", r"\n")
    if openmetrics:
        text = text.replace('"', r"\"")
    kind: str = Kind.GAUGE if metric.kind is Kind.INFO else metric.kind
    if metric.kind is Kind.HISTOGRAM and not buckets:
        kind = _SUMMARY
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n"


Endings = tuple[tuple[str, str], ...]
"""How the name of each line of a series ends, and the bound of its bucket, "" without one."""


class _Template:
    """The lines of a metric's series as text, with a place for each label and each value.

    Args:
        name: of the metric.
        names: of the labels, in the order of the declaration.
        endings: its lines.
    """

    def __init__(self, name: str, names: tuple[str, ...], endings: Endings) -> None:
        order = sorted(range(len(names)), key=names.__getitem__)
        self._pick = _picker(order)
        self._text = ""
        self._quotes = 0
        for ending, bound in endings:
            labels = _labels([(names[place], "%s") for place in order], bound)
            self._text += f"{name}{ending}{labels} %s\n"
            self._quotes += labels.count('"')
        self._lines = len(endings)

    def fill(self, labels: Sequence[tuple[str, ...]], rows: Sequence[Sequence[str]]) -> str:
        """The lines of some series.

        Args:
            labels: of each.
            rows: what the lines of each say.
        """
        count = len(labels)
        text = self._text * count % self._words(labels, rows)
        # One look at all, of which only a hostile VM's need more.
        if (
            "\\" not in text
            and text.count("\n") == count * self._lines
            and text.count('"') == count * self._quotes
        ):
            return text
        escaped = [tuple(map(_escaped, one)) for one in labels]
        return self._text * count % self._words(escaped, rows)

    def _words(
        self, labels: Sequence[tuple[str, ...]], rows: Sequence[Sequence[str]]
    ) -> tuple[str, ...]:
        pick = self._pick
        words: list[str] = []
        for given, row in zip(labels, rows, strict=True):
            picked = pick(given)
            for value in row:
                words += picked
                words.append(value)
        return tuple(words)


class _Lines(dict[tuple[str, ...], tuple[str, ...]]):
    """The lines of a VM's series of a metric, by their last labels.

    Each is cut where the VM's name belongs, and where its value does: text before a name, text
    before a value, by turns.

    Args:
        metric: whose.
        fixed: the labels after the VM's name that all of them have.
        endings: the lines of one series.
    """

    MOST = 1024

    def __init__(self, metric: Metric, fixed: tuple[str, ...], endings: Endings) -> None:
        super().__init__()
        self._metric = metric
        self._fixed = fixed
        self._endings = endings

    def __missing__(self, rest: tuple[str, ...]) -> tuple[str, ...]:
        if len(self) >= self.MOST:
            self.clear()
        vm, *names = self._metric.labels
        given = zip(names, map(_escaped, (*self._fixed, *rest)), strict=True)
        # No label holds a line's end once it is escaped.
        labels = sorted([(vm, "\n"), *given])
        cut: list[str] = []
        for ending, bound in self._endings:
            cut += f"{self._metric.name}{ending}{_labels(labels, bound)} ".split("\n")
        self[rest] = lines = tuple(cut)
        return lines


def _labels(sorted_labels: Sequence[tuple[str, str]], bound: str) -> str:
    labels = [(name, f'="{value}"') for name, value in sorted_labels]
    if bound:
        labels = sorted([*labels, (_BOUND, f'="{bound}"')])
    return "{" + ",".join(name + value for name, value in labels) + "}" if labels else ""


def _picker(order: Sequence[int]) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    """What puts a tuple in this order."""
    return tuple if list(order) == list(range(len(order))) else itemgetter(*order)


@functools.lru_cache(maxsize=1024)
def _template(name: str, names: tuple[str, ...], endings: Endings) -> _Template:
    return _Template(name, names, endings)


@functools.lru_cache(maxsize=4096)
def _lines(metric: Metric, fixed: tuple[str, ...], endings: Endings) -> _Lines:
    return _Lines(metric, fixed, endings)


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


class _Shape:
    """What lines a series has, and what they say.

    Args:
        endings: the lines.
        words: value → what they say.
    """

    def __init__(self, endings: Endings, words: Callable[[Value], Sequence[str]]) -> None:
        self.endings = endings
        self.words = words

    def template(self, metric: Metric) -> _Template:
        """For series that were added one by one."""
        return _template(metric.name, metric.labels, self.endings)

    def group(
        self, metric: Metric, first: tuple[str, ...], values: Mapping[tuple[str, ...], Value]
    ) -> list[str]:
        """The lines of one VM's series."""
        vm, lines = _escaped(first[0]), _lines(metric, first[1:], self.endings)
        result = []
        for rest, value in values.items():
            texts, words = iter(lines[rest]), iter(self.words(value))
            for before, between, word in zip(texts, texts, words, strict=True):
                result.append(f"{before}{vm}{between}{word}\n")
        return result


class _Plain(_Shape):
    """A number is one line, as most series are: the same, for each of them faster."""

    def __init__(self) -> None:
        super().__init__((("", ""),), lambda value: (_number(value),))

    def group(
        self, metric: Metric, first: tuple[str, ...], values: Mapping[tuple[str, ...], Value]
    ) -> list[str]:
        """The lines of one VM's series."""
        vm, lines = _escaped(first[0]), _lines(metric, first[1:], self.endings)
        return [
            # Small counts are most of all, and a call for each is most of what they take.
            f"{before}{vm}{between}{value}.0\n"
            if type(value) is int and 0 <= value < _PLAIN_BELOW
            else f"{before}{vm}{between}{_number(value)}\n"
            for rest, value in values.items()
            for before, between in (lines[rest],)
        ]


class _CountAndSum(_Shape):
    """A distribution without its buckets: likewise."""

    def __init__(self) -> None:
        super().__init__((("_count", ""), ("_sum", "")), _count_and_sum)

    def group(
        self, metric: Metric, first: tuple[str, ...], values: Mapping[tuple[str, ...], Value]
    ) -> list[str]:
        """The lines of one VM's series."""
        vm, lines = _escaped(first[0]), _lines(metric, first[1:], self.endings)
        return [
            f"{before}{vm}{between}{count}\n{before_sum}{vm}{between_sum}{total}\n"
            for rest, value in values.items()
            for before, between, before_sum, between_sum in (lines[rest],)
            for count, total in (_count_and_sum(value),)
        ]


def _count_and_sum(value: Value) -> tuple[str, str]:
    if not isinstance(value, Histogram):
        raise TypeError(f"{value!r} is no histogram")
    return _number(sum(value.counts)), _number(ns_to_seconds(value.sum_ns))


_PLAIN, _WITHOUT_BUCKETS = _Plain(), _CountAndSum()


def _shape(metric: Metric, family: Family, *, buckets: bool) -> _Shape:
    if metric.kind is not Kind.HISTOGRAM:
        return _PLAIN
    if not buckets:
        return _WITHOUT_BUCKETS
    values = chain(family.values, *(group.values() for _, group in family.groups))
    buckets_of = next((len(one.counts) for one in values if isinstance(one, Histogram)), 1)
    bounds = _bounds(buckets_of)

    def all_of_it(value: Value) -> list[str]:
        count_and_sum = _count_and_sum(value)
        seen = list(accumulate(value.counts))  # type: ignore[union-attr] # or it had been refused
        return [*[_number(seen[bucket]) for bucket, _ in bounds], *count_and_sum]

    endings = (*(("_bucket", bound) for _, bound in bounds), *_WITHOUT_BUCKETS.endings)
    return _Shape(endings, all_of_it)


@functools.lru_cache(maxsize=16)
def _bounds(buckets: int) -> tuple[tuple[int, str], ...]:
    """The buckets that are shown: their number, and their bound as text."""
    return tuple((bucket, _number(bound)) for bucket, bound in shown_bounds(buckets))


def _number(value: Value) -> str:
    # The type first: most are small counts, and there are tens of thousands of them.
    if type(value) is int and 0 <= value < _EXACT_BELOW:
        if value < _PLAIN_BELOW:
            return f"{value}.0"
        digits = f"{value}"
        if digits[-1] == "0":
            mantissa = f"{digits[0]}.{digits[1:]}".rstrip("0.")
            return f"{mantissa}{_EXPONENTS[len(digits)]}"
        return f"{digits[0]}.{digits[1:]}{_EXPONENTS[len(digits)]}"
    if isinstance(value, Histogram):
        raise TypeError(f"{value!r} is no number")
    if type(value) is float and 0 <= value < _PLAIN_BELOW:
        return repr(value)
    if value == inf:
        return "+Inf"
    text: str = floatToGoString(value)  # type: ignore[no-untyped-call] # it has no hints
    return text
