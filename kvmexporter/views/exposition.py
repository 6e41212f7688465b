# SPDX-License-Identifier: Apache-2.0
"""A snapshot as Prometheus text 0.0.4 or OpenMetrics, as prometheus-client writes it."""

import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

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
from kvmexporter.sampler import Snapshot
from kvmexporter.units import ns_to_seconds
from kvmexporter.views import lines

OPENMETRICS = "application/openmetrics-text"


# How the client library may be asked to write names that are none of ours.
_PLAIN_ESCAPING = (openmetrics.UNDERSCORES, openmetrics.ALLOWUTF8)
# An eighth larger than at 6, in a quarter of the time: most of what a scrape took, once.
_GZIP_LEVEL = 3
_GZIP_FORMAT = 16 + zlib.MAX_WBITS


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


def render(snapshot: Snapshot, accept: str = "") -> tuple[str, bytes]:
    """The snapshot as a response: content type and body."""
    encoding = choose(accept)
    return encoding.content_type, b"".join(_pieces(snapshot, encoding))


def render_compressed(snapshot: Snapshot, accept: str = "") -> tuple[str, bytes]:
    """The same, gzip-encoded as it is written: all of it at once would be a dozen megabytes."""
    encoding = choose(accept)
    gzip = zlib.compressobj(_GZIP_LEVEL, wbits=_GZIP_FORMAT)
    pieces = [gzip.compress(piece) for piece in _pieces(snapshot, encoding)]
    return encoding.content_type, b"".join((*pieces, gzip.flush()))


def render_openmetrics(snapshot: Snapshot) -> bytes:
    """The snapshot as OpenMetrics."""
    return render(snapshot, openmetrics.CONTENT_TYPE_LATEST)[1]


def _pieces(snapshot: Snapshot, encoding: Encoding) -> Iterator[bytes]:
    if not encoding.plain:
        yield client_encoded(snapshot, encoding)
        return
    for family in snapshot.families:
        for chunk in lines.chunks(family, openmetrics=encoding.openmetrics, extras=snapshot.extras):
            yield chunk.encode()
    if encoding.openmetrics:
        yield b"# EOF\n"


def client_encoded(snapshot: Snapshot, encoding: Encoding) -> bytes:
    """The snapshot by the client library's own encoder: slow, and the measure of ours."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Published(snapshot))
    return encoding.encode(registry)


class _Published(ClientCollector):
    """A snapshot in the shape that prometheus-client's encoders ask for."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def describe(self) -> list[ClientFamily]:
        return []

    def collect(self) -> Iterator[ClientFamily]:
        extras = self._snapshot.extras
        for family in self._snapshot.families:
            if len(served(family, extras)):
                yield client_family(family, extras)


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
