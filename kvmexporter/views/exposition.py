# SPDX-License-Identifier: Apache-2.0
"""Families as Prometheus text 0.0.4 or OpenMetrics, as prometheus-client writes it."""

import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Protocol

from prometheus_client import exposition
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    SummaryMetricFamily,
)
from prometheus_client.metrics_core import Metric as ClientFamily
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.registry import Collector as ClientCollector
from prometheus_client.registry import CollectorRegistry
from prometheus_client.utils import floatToGoString

from kvmexporter.model.histogram import Histogram
from kvmexporter.model.metrics import Family, Kind, Metric, Sample
from kvmexporter.model.serving import has_buckets, served
from kvmexporter.sampler import Sampler, Snapshot
from kvmexporter.units import ns_to_seconds
from kvmexporter.views import lines

OPENMETRICS = "application/openmetrics-text"


# How the client library may be asked to write names that are none of ours.
_PLAIN_ESCAPING = (openmetrics.UNDERSCORES, openmetrics.ALLOWUTF8)
# An eighth larger than at 6, in a quarter of the time: most of what a scrape took, once.
_GZIP_LEVEL = 3
_GZIP_FORMAT = 16 + zlib.MAX_WBITS
# Beyond this ISA-L compresses, if it is there, in a quarter of that time; who has few VMs does
# without its memory.
_LARGE_BYTES = 1 << 20
_FASTEST_LEVEL = 1


def _for_large() -> "_Compressor":
    try:
        from isal import isal_zlib
    except ImportError:  # no must: it is faster
        return zlib.compressobj(_FASTEST_LEVEL, zlib.DEFLATED, _GZIP_FORMAT)
    return isal_zlib.compressobj(_FASTEST_LEVEL, isal_zlib.DEFLATED, _GZIP_FORMAT)


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Encoding:
    """One format.

    Attributes:
        content_type: its name.
        encode: the client library's encoder.
        openmetrics: whether it is OpenMetrics.
        plain: whether our names are written as they are.
    """

    content_type: str
    encode: Callable[[CollectorRegistry], bytes]
    openmetrics: bool
    plain: bool


def choose(accept: str) -> Encoding:
    """The format that a request's Accept header asks for; text if it asks for none."""
    encode, content_type = exposition.choose_encoder(accept)
    escaping = getattr(encode, "keywords", {}).get("escaping", openmetrics.UNDERSCORES)
    return Encoding(
        content_type, encode, content_type.startswith(OPENMETRICS), escaping in _PLAIN_ESCAPING
    )


class Writer:
    """Writes a response as its families come: all of it at once would be a dozen megabytes.

    Args:
        encoding: its format.
        extras: what is served beyond the usual, as `collector.extra`.
        compress: whether it is to be gzip-encoded.
    """

    def __init__(self, encoding: Encoding, extras: Collection[str], *, compress: bool) -> None:
        self._encoding = encoding
        self._extras = extras
        self._compress = compress
        self._gzip: _Compressor | None = None
        self._written = BytesIO()  # as text, until it is large
        self._kept: list[Family] = []

    def write(self, family: Family) -> None:
        """Add a family.

        Raises:
            TypeError: a value is not of the metric's kind.
        """
        if not self._encoding.plain:
            self._kept.append(family)
            return
        openmetrics = self._encoding.openmetrics
        for chunk in lines.chunks(family, openmetrics=openmetrics, extras=self._extras):
            self._add(chunk.encode())

    def body(self) -> bytes:
        """The whole response."""
        if not self._encoding.plain:
            self._add(client_encoded(self._kept, self._extras, self._encoding))
        elif self._encoding.openmetrics:
            self._add(b"# EOF\n")
        if self._compress and not self._gzip:
            self._begin(zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_FORMAT))
        if self._gzip:
            self._written.write(self._gzip.flush())
        return self._written.getvalue()

    def _add(self, text: bytes) -> None:
        self._written.write(self._gzip.compress(text) if self._gzip else text)
        if self._compress and not self._gzip and self._written.tell() > _LARGE_BYTES:
            self._begin(_for_large())

    def _begin(self, gzip: "_Compressor") -> None:
        """Compress from here on, and what was written before."""
        text, self._written, self._gzip = self._written.getvalue(), BytesIO(), gzip
        self._written.write(gzip.compress(text))


def scrape(sampler: Sampler, encoding: Encoding, *, compress: bool) -> bytes:
    """A sampling as a response."""
    writer = Writer(encoding, sampler.extras, compress=compress)
    sampler.stream(writer.write)
    return writer.body()


def render(snapshot: Snapshot, accept: str = "", *, compress: bool = False) -> tuple[str, bytes]:
    """The snapshot as a response: content type and body."""
    encoding = choose(accept)
    writer = Writer(encoding, snapshot.extras, compress=compress)
    for family in snapshot.families:
        writer.write(family)
    return encoding.content_type, writer.body()


def render_openmetrics(snapshot: Snapshot) -> bytes:
    """The snapshot as OpenMetrics."""
    return render(snapshot, openmetrics.CONTENT_TYPE_LATEST)[1]


def client_encoded(
    families: Sequence[Family], extras: Collection[str], encoding: Encoding
) -> bytes:
    """Families by the client library's own encoder: slow, and the measure of ours."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Published(families, extras))
    return encoding.encode(registry)


class _Published(ClientCollector):
    """Families in the shape that prometheus-client's encoders ask for."""

    def __init__(self, families: Sequence[Family], extras: Collection[str]) -> None:
        self._families = families
        self._extras = extras

    def describe(self) -> list[ClientFamily]:
        return []

    def collect(self) -> Iterator[ClientFamily]:
        for family in self._families:
            if len(served(family, self._extras)):
                yield client_family(family, self._extras)


def client_family(family: Family, extras: Collection[str] = ()) -> ClientFamily:
    """What is served of one of our families, as prometheus-client's."""
    metric, samples = family.metric, served(family, extras).samples
    labels = list(metric.labels)
    match metric.kind:
        case Kind.COUNTER:
            counter = CounterMetricFamily(metric.name, metric.help, labels=labels)
            for sample in samples:
                counter.add_metric(sample.labels, _number(sample.value))
            return counter
        case Kind.INFO:
            # As a gauge in both formats: queries need not know which was scraped.
            info = GaugeMetricFamily(metric.name, metric.help, labels=labels)
            for sample in samples:
                info.add_metric(sample.labels, _number(sample.value))
            return info
        case Kind.GAUGE:
            gauge = GaugeMetricFamily(metric.name, metric.help, labels=labels)
            for sample in samples:
                gauge.add_metric(sample.labels, _number(sample.value))
            return gauge
        case Kind.HISTOGRAM if not has_buckets(metric, extras):
            summary = SummaryMetricFamily(metric.name, metric.help, labels=labels)
            for sample in samples:
                value = _histogram(metric, sample)
                summary.add_metric(sample.labels, value.count, ns_to_seconds(value.sum_ns))
            return summary
        case Kind.HISTOGRAM:
            histogram = HistogramMetricFamily(metric.name, metric.help, labels=labels)
            for sample in samples:
                value = _histogram(metric, sample)
                buckets = [(_bound(bound), float(count)) for bound, count in value.shown_buckets()]
                histogram.add_metric(sample.labels, buckets, ns_to_seconds(value.sum_ns))
            return histogram


def _histogram(metric: Metric, sample: Sample) -> Histogram:
    if not isinstance(sample.value, Histogram):
        raise TypeError(f"{metric.name}: {sample.value!r} is no histogram")
    return sample.value


def _number(value: object) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return value


def _bound(seconds: float) -> str:
    text: str = floatToGoString(seconds)  # type: ignore[no-untyped-call] # it has no hints
    return text
