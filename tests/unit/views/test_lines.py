# SPDX-License-Identifier: Apache-2.0
"""The lines of the exposition are prometheus-client's, byte for byte."""

import gzip
import math
import random
from dataclasses import replace

import pytest

from kvmexporter.collectors.exits import ExitsCollector
from kvmexporter.collectors.io import IoCollector
from kvmexporter.collectors.vms import VmsCollector
from kvmexporter.model.metrics import Family, Kind, Metric, Value
from kvmexporter.sampler import Snapshot
from kvmexporter.views import lines
from kvmexporter.views.exposition import choose, client_encoded, render
from tests.unit.golden_host import golden_host
from tests.unit.host import Host
from tests.unit.snapshots import HISTOGRAM, HOSTILE_NAMES, family, histogram, snapshot

ACCEPTS = (
    "",
    "text/plain;version=1.0.0;escaping=allow-utf-8",
    "application/openmetrics-text",
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8",
    "application/openmetrics-text;version=1.0.0;escaping=dots",
)

NUMBERS: tuple[Value, ...] = (
    0, 1, 7, 999_999, 1_000_000, 1_234_567, 12_345_678_900, 10**14, 10**15 - 1,
    10**15, (1 << 53) - 1, 1 << 53, 1 << 64,
    -1, -1_234_567, True, 0.0, -0.0, 0.1, 1e-7, 1.5, 999999.5, 1000000.5, 123456789.125, 1e15, 1e16,
    1e21, 1.7976931348623157e308, 5e-324, math.inf, -math.inf, math.nan, -123456789.5,
)  # fmt: skip

KINDS = (VmsCollector, ExitsCollector, IoCollector)

HELP = 'A "quoted" help with a \\ and\na line break.'


def as_client(given: Snapshot, accept: str) -> bytes:
    return client_encoded(given.families, given.extras, choose(accept))


@pytest.mark.parametrize("accept", ACCEPTS)
def test_numbers(accept: str) -> None:
    """Every number, of every kind but histograms."""
    given = snapshot(
        *(
            family(
                Metric(f"kvm_vm_test_{kind}{ending}", kind, HELP, ("vm", "n")),
                {("a", str(place)): number for place, number in enumerate(NUMBERS)},
            )
            for kind, ending in ((Kind.COUNTER, "_total"), (Kind.GAUGE, ""), (Kind.INFO, "_info"))
        )
    )
    assert render(given, accept)[1] == as_client(given, accept)


@pytest.mark.parametrize("accept", ACCEPTS)
def test_labels(accept: str) -> None:
    """None, one or many, whatever their order, and whatever they hold."""
    given = snapshot(
        *(
            family(
                Metric(f"kvm_vm_test_{place}", kind, HELP, names),
                {
                    tuple(f"{name}{number}" for number in range(len(names))): value
                    for name in HOSTILE_NAMES[: None if names else 1]
                },
            )
            for place, (kind, names, value) in enumerate(
                (kind, names, value)
                for kind, value in (
                    (Kind.GAUGE, 3),
                    (Kind.HISTOGRAM, histogram({0: 3, 23: 2}, 17)),
                )
                for names in ((), ("vm",), ("class", "vm"), ("vm", "device", "path"), ("a", "b"))
            )
        )
    )
    assert render(given, accept)[1] == as_client(given, accept)


@pytest.mark.parametrize("accept", ACCEPTS)
def test_histograms(accept: str) -> None:
    """Whatever their counts and sums."""
    chance = random.Random(41)
    given = snapshot(
        family(
            HISTOGRAM,
            {
                (f"vm-{number}",): histogram(
                    {bucket: chance.randrange(10 ** (number % 19)) for bucket in range(24)},
                    chance.randrange(1 << 62),
                )
                for number in range(601)  # more than are written at a time
            },
        )
    )
    assert render(given, accept)[1] == as_client(given, accept)


@pytest.mark.parametrize("accept", ACCEPTS)
@pytest.mark.parametrize("names", [(), ("vm",), ("class", "vm"), ("vm", "device", "path")])
def test_a_histogram_without_buckets(accept: str, names: tuple[str, ...]) -> None:
    """A summary of a sum and a count; with them, on demand, a histogram."""
    metric = Metric("kvm_vm_test_seconds", Kind.HISTOGRAM, HELP, names, buckets="test.buckets")
    values: dict[tuple[str, ...], Value] = {
        tuple(f"{name}{number}" for number in range(len(names))): histogram({0: 3, 23: 1009}, 17)
        for name in HOSTILE_NAMES[: None if names else 1]
    }
    given = snapshot(family(metric, values))
    served = render(given, accept)[1]
    assert served == as_client(given, accept)
    assert b"_bucket" not in served
    assert served.count(b"_count") == served.count(b"_sum") == len(values)
    everything = replace(given, extras=frozenset({"test.buckets"}))
    assert b"_bucket" in render(everything, accept)[1]
    assert render(everything, accept)[1] == as_client(everything, accept)


@pytest.mark.parametrize("accept", ACCEPTS)
@pytest.mark.parametrize("kind", [Kind.GAUGE, Kind.HISTOGRAM])
@pytest.mark.parametrize(
    "names", [("vm", "device"), ("vm", "device", "path"), ("vm", "a", "z"), ("vm", "x", "a", "b")]
)
def test_series_by_vm(accept: str, kind: Kind, names: tuple[str, ...]) -> None:
    """The same lines, whatever a VM and its devices are called; again when they are known."""
    value: Value = 1_234_567 if kind is Kind.GAUGE else histogram({0: 3, 23: 2}, 17)
    grouped = Family(Metric("kvm_vm_test", kind, HELP, names))
    for vm in HOSTILE_NAMES:
        for first in {1, len(names) - 1}:
            common = tuple(f"{first}{name}" for name in HOSTILE_NAMES[: first - 1])
            rest = [(f"{first}{name}",) * (len(names) - first) for name in HOSTILE_NAMES]
            grouped.group((vm, *common), dict.fromkeys(rest, value))
    given = snapshot(grouped)
    assert len(grouped) == len(grouped.samples) >= len(HOSTILE_NAMES) ** 2
    for _ in range(2):
        assert render(given, accept)[1] == as_client(given, accept)


def test_lines_that_are_kept_are_bounded() -> None:
    """However many labels a VMM makes up."""
    metric = Metric("kvm_vm_test", Kind.GAUGE, HELP, ("vm", "device"))
    for number in range(3000):
        grouped = Family(metric)
        grouped.group(("web",), {(f"device-{number}",): number})
        assert f'{{device="device-{number}",vm="web"}} {number}.0\n' in "".join(
            lines.chunks(grouped, openmetrics=False)
        )
    kept = lines._lines(metric, (), (("", ""),))
    assert len(kept) <= kept.MOST


@pytest.mark.parametrize("accept", ACCEPTS)
def test_what_is_served_by_default(host: Host, accept: str) -> None:
    """Of a whole host, without anything on demand."""
    golden_host(host)
    everything = host.snapshot(*KINDS)
    given = replace(everything, extras=frozenset())
    served = render(given, accept)[1]
    assert served == as_client(given, accept)
    assert 0 < len(served) < len(render(everything, accept)[1])


@pytest.mark.parametrize("accept", ACCEPTS)
def test_a_whole_host(host: Host, accept: str) -> None:
    """Everything that two VMs have; compressed, it is the same again."""
    golden_host(host)
    given = host.snapshot(*KINDS)
    content_type, body = render(given, accept)
    assert body == as_client(given, accept)
    compressed = render(given, accept, compress=True)
    assert (compressed[0], gzip.decompress(compressed[1])) == (content_type, body)


@pytest.mark.parametrize("kind", [Kind.COUNTER, Kind.GAUGE, Kind.INFO])
def test_a_histogram_is_no_number(kind: Kind) -> None:
    """A value of the wrong type is an error, never a wrong line."""
    ending = {Kind.COUNTER: "_total", Kind.INFO: "_info"}.get(kind, "")
    metric = Metric(f"kvm_vm_test{ending}", kind, "Help.")
    with pytest.raises(TypeError, match="is no number"):
        render(snapshot(family(metric, {(): histogram({}, 0)})))


def test_a_number_is_no_histogram() -> None:
    """The other way round."""
    with pytest.raises(TypeError, match="kvm_vm_test_seconds: 5 is no histogram"):
        render(snapshot(family(HISTOGRAM, {("a",): 5})))
