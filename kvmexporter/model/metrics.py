# SPDX-License-Identifier: Apache-2.0
"""Metrics as data: what is declared of each, and the values of one moment.

A collector declares its metrics once; the exposition, `docs/metrics.md`, the
dashboards' checks and `dump` all read that declaration.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import NamedTuple, TypeVar

from kvmexporter.model.histogram import Histogram

Value = int | float | Histogram
Labels = TypeVar("Labels", bound=tuple[str, ...])

RARE_BELOW = 1000
"""Kinds of events of which there were fewer are rare: most have happened while a guest booted."""


class Kind(StrEnum):
    """A metric's type, in Prometheus's words; an info is a gauge that is 1."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Metric:
    """The declaration of a metric.

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
        rare: what has to be asked for to have series served that count less than RARE_BELOW.
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

    def __hash__(self) -> int:
        # Of all fields it would be a microsecond, for each series of each scrape.
        return hash(self.name)

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


new_sample: Callable[[tuple[tuple[str, ...], Value]], Sample] = partial(tuple.__new__, Sample)
"""A sample of (label values, value), without a Python call for each series of each scrape."""


class Family:
    """The samples of one metric at one moment.

    Attributes:
        metric: the declaration.
        samples: what was added, in order.
        rare: VM → its events of rare kinds, added up, where a counter leaves such kinds out.
    """

    __slots__ = ("_labels", "_leaves_out", "metric", "rare", "samples")

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.samples: list[Sample] = []
        self.rare: dict[str, float] = {}
        self._leaves_out = bool(metric.rare) and metric.kind is Kind.COUNTER
        self._labels = len(metric.labels)

    def add(self, value: Value, *labels: str) -> None:
        """Add one series.

        Raises:
            ValueError: not as many labels as declared.
        """
        if len(labels) != self._labels:
            raise ValueError(f"{self.metric.name} has {self.metric.labels}, got {labels}")
        self.samples.append(new_sample((labels, value)))
        if self._leaves_out and not isinstance(value, Histogram):
            self._note_rare(labels[0], [value])

    def count(self, first: tuple[str, ...], counts: Mapping[Labels, int]) -> None:
        """Add a VM's events, by kind.

        Args:
            first: the first labels of all of them, the VM's name before all others.
            counts: the other labels → events.
        """
        self.samples += [new_sample(((*first, *rest), count)) for rest, count in counts.items()]
        if self._leaves_out:
            self._note_rare(first[0], counts.values())

    def _note_rare(self, vm: str, values: Iterable[float]) -> None:
        # Here, where they are at hand: to look at all of them once more takes longer than all this.
        if rare := sum([value for value in values if value < RARE_BELOW]):
            self.rare[vm] = self.rare.get(vm, 0) + rare


def families(metrics: Sequence[Metric]) -> list[Family]:
    """An empty family for each metric."""
    return [Family(metric) for metric in metrics]
