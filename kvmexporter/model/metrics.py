# SPDX-License-Identifier: Apache-2.0
"""Metrics as data: what is declared of each, and the values of one moment.

A collector declares its metrics once; the exposition, `docs/metrics.md`, the
dashboards' checks and `dump` all read that declaration.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from kvmexporter.model.histogram import Histogram

Value = int | float | Histogram
V = TypeVar("V", bound=Value)
Labels = TypeVar("Labels", bound=tuple[str, ...])

RARE_BELOW = 1000
"""Kinds of events of which there were fewer are rare: most have happened while a guest booted."""

RARE_BELOW_A_SECOND = 0.01
"""So are those of which there were fewer a second since they are counted: a VM that has run for
months has done a thousand times all that it ever does."""


def rare_below(seconds: float) -> int:
    """How many of a kind are no rarity after so many seconds of counting."""
    return max(RARE_BELOW, int(seconds * RARE_BELOW_A_SECOND))


class Kind(StrEnum):
    """A metric's type, in Prometheus's words; an info is a gauge that is 1."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


@dataclass(frozen=True, slots=True, eq=False)
class Metric:
    """The declaration of a metric; each is declared once, and equal to itself alone.

    Attributes:
        name: as exposed, with `_total` or `_info`.
        kind: its type.
        help: what the value means to its reader.
        labels: label names, in order.
        source: where it is read: tracepoint, file, command.
        extra: what has to be asked for to have it served (`Collector.extras`), as
            `collector.extra`; "" if it always is.
        usual: values of its last label that are served without `extra`.
        buckets: what has to be asked for to have a histogram's buckets served, too.
        rare: what has to be asked for to have series served that count less than `rare_below`.
        more: what has to be asked for to have series made that its collector leaves out otherwise.
    """

    name: str
    kind: Kind
    help: str
    labels: tuple[str, ...] = ()
    source: str = ""
    extra: str = ""
    usual: frozenset[str] = frozenset()
    buckets: str = ""
    rare: str = ""
    more: str = ""

    def __post_init__(self) -> None:
        suffix = {Kind.COUNTER: "_total", Kind.INFO: "_info"}.get(self.kind)
        if suffix and not self.name.endswith(suffix):
            raise ValueError(f"{self.name}: the name of a {self.kind} ends in {suffix}")
        if not suffix and self.name.endswith(("_total", "_info")):
            raise ValueError(f"{self.name}: that ending is not a {self.kind}'s")
        if self.buckets and self.kind is not Kind.HISTOGRAM:
            raise ValueError(f"{self.name}: a {self.kind} has no buckets")


class Sample(NamedTuple):
    """One series' value: label values in the order of the declaration."""

    labels: tuple[str, ...]
    value: Value


Group = tuple[tuple[str, ...], Mapping[Any, Value]]
"""Series that have their first labels in common: those labels, and their other labels → value.

As a VM's counts are kept anyway, so that a series costs neither memory nor time of its own.
"""


class Family:
    """The samples of one metric at one moment.

    Attributes:
        metric: the declaration.
        labels: those of the series that were added one by one.
        values: and their values.
        groups: the series that were added by VM; they come after the others.
        rare: VM → its events of rare kinds, added up, where a counter leaves such kinds out.
        rare_below: VM → how many of a kind are no rarity, of those where that is not RARE_BELOW.
    """

    __slots__ = (
        "_labels", "_leaves_out", "groups", "labels", "metric", "rare", "rare_below", "values",
    )  # fmt: skip

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.rare_below: dict[str, int] = {}
        self.labels: list[tuple[str, ...]] = []
        self.values: list[Value] = []
        self.groups: list[Group] = []
        self.rare: dict[str, float] = {}
        self._leaves_out = bool(metric.rare) and metric.kind is Kind.COUNTER
        self._labels = len(metric.labels)

    def __len__(self) -> int:
        return len(self.labels) + sum(len(values) for _, values in self.groups)

    @property
    def samples(self) -> list[Sample]:
        """All of it, made for whoever asks: `/metrics`, which has hundreds of VMs, does not."""
        samples = list(map(Sample, self.labels, self.values))
        for first, values in self.groups:
            samples += [Sample((*first, *rest), value) for rest, value in values.items()]
        return samples

    def add(self, value: Value, *labels: str) -> None:
        """Add one series.

        Raises:
            ValueError: not as many labels as declared.
        """
        if len(labels) != self._labels:
            raise ValueError(f"{self.metric.name} has {self.metric.labels}, got {labels}")
        self.labels.append(labels)
        self.values.append(value)
        if self._leaves_out and not isinstance(value, Histogram):
            self._note_rare(labels[0], [value])

    def group(
        self,
        first: tuple[str, ...],
        values: Mapping[Labels, Value],
        rare_below: int = RARE_BELOW,
    ) -> None:
        """Add a VM's series; the mapping is kept, and must not change any more.

        Args:
            first: the first labels of all of them, the VM's name before all others.
            values: their other labels → value.
            rare_below: how many of a kind are no rarity with this VM.

        Raises:
            ValueError: not as many labels as declared.
        """
        if not values:
            return
        if len(first) + len(next(iter(values))) != self._labels or self.metric.labels[0] != "vm":
            raise ValueError(f"{self.metric.name} has {self.metric.labels}, got {first}, {values}")
        self.groups.append((first, values))
        if rare_below != RARE_BELOW:
            self.rare_below[first[0]] = rare_below
        if self._leaves_out:
            self._note_rare(first[0], values.values())

    def chosen(self, choose: Callable[[Mapping[Any, Value]], Mapping[Any, Value]]) -> "Family":
        """Those series that are wanted.

        Args:
            choose: labels → value → those that are; of the labels, it may be given the last alone.
        """
        result = self._empty()
        for labels, value in choose(dict(zip(self.labels, self.values, strict=True))).items():
            result.labels.append(labels)
            result.values.append(value)
        for first, values in self.groups:
            if kept := choose(values):
                result.groups.append((first, kept))
        return result

    def frequent(self) -> "Family":
        """Those series that count what is no rarity; of a histogram, its observations count."""
        result = self._empty()
        for labels, value in zip(self.labels, self.values, strict=True):
            if _count(value) >= self.rare_below.get(labels[0], RARE_BELOW):
                result.labels.append(labels)
                result.values.append(value)
        times = self.metric.kind is Kind.HISTOGRAM
        for first, values in self.groups:
            least = self.rare_below.get(first[0], RARE_BELOW)
            if times:
                kept = {key: value for key, value in values.items() if _count(value) >= least}
            else:
                kept = {key: value for key, value in values.items() if value >= least}  # type: ignore[operator] # numbers
            if kept:
                result.groups.append((first, kept))
        return result

    def _empty(self) -> "Family":
        result = Family(self.metric)
        result.rare_below = self.rare_below
        return result

    def _note_rare(self, vm: str, values: Iterable[Value]) -> None:
        # Here, where they are at hand: to look at all of them once more takes longer than all this.
        least = self.rare_below.get(vm, RARE_BELOW)
        if rare := sum([n for n in values if n < least]):  # type: ignore[operator, misc] # counts
            self.rare[vm] = self.rare.get(vm, 0) + rare


def _count(value: Value) -> float:
    return sum(value.counts) if isinstance(value, Histogram) else value


def keyed(values: Mapping[str, V]) -> dict[tuple[str], V]:
    """What is kept by the value of a single label, as `Family.group` takes it."""
    return {_alone(label): value for label, value in values.items()}


@lru_cache(maxsize=4096)
def _alone(label: str) -> tuple[str]:
    """One object for all VMs."""
    return (label,)


def families(metrics: Sequence[Metric]) -> list[Family]:
    """An empty family for each metric."""
    return [Family(metric) for metric in metrics]
