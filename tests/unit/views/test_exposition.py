# SPDX-License-Identifier: Apache-2.0
"""Prometheus text and OpenMetrics: complete, parseable, and nothing lost on the way."""

import gzip
import math
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric as ClientFamily
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from kvmexporter.collectors.exits import ExitsCollector
from kvmexporter.collectors.exporter import ExporterCollector
from kvmexporter.collectors.io import IoCollector
from kvmexporter.collectors.vms import VmsCollector
from kvmexporter.model.histogram import Histogram
from kvmexporter.model.metrics import Family, Kind, Metric
from kvmexporter.model.vm import bounded_name
from kvmexporter.sampler import Snapshot
from kvmexporter.views.exposition import (
    Writer,
    choose,
    client_family,
    render,
    render_openmetrics,
)
from tests.unit import golden
from tests.unit.golden_host import frozen, golden_host
from tests.unit.host import Host
from tests.unit.procfs_tree import ProcfsTree
from tests.unit.snapshots import (
    COUNTER,
    GAUGE,
    HISTOGRAM,
    HOSTILE_NAMES,
    INFO,
    family,
    histogram,
    snapshot,
)

Parse = Callable[[str], Iterable[ClientFamily]]
OPENMETRICS = "application/openmetrics-text; version=1.0.0"
FORMATS = [
    pytest.param("", parse_text, id="text"),
    pytest.param(OPENMETRICS, parse_openmetrics, id="openmetrics"),
]


def body(given: Snapshot, accept: str) -> str:
    return render(given, accept)[1].decode()


Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str, parse: Parse) -> Samples:
    found: Samples = {}
    for parsed in parse(text):
        for sample in parsed.samples:
            key = sample.name, frozenset(sample.labels.items())
            assert key not in found, f"{key} is there twice"
            found[key] = sample.value
    return found


def expected(given: Snapshot) -> Samples:
    """The same from the snapshot itself, by the rules of the formats."""
    result: Samples = {}
    for one in given.families:
        for sample in one.samples:
            labels = frozenset(zip(one.metric.labels, sample.labels, strict=True))
            if isinstance(sample.value, Histogram):
                name = one.metric.name
                for bound, count in sample.value.shown_buckets():
                    le = "+Inf" if math.isinf(bound) else repr(bound)
                    result[f"{name}_bucket", labels | {("le", le)}] = count
                result[f"{name}_count", labels] = sample.value.count
                result[f"{name}_sum", labels] = sample.value.sum_ns / 1e9
            else:
                result[one.metric.name, labels] = sample.value
    return result


ONE_OF_EACH = (
    family(COUNTER, {("a", "x"): 2, ("a", "y"): 1 << 62}),
    family(GAUGE, {("a",): -0.5, ("b",): 12345678901234}),
    family(INFO, {("a", "1"): 1}),
    family(HISTOGRAM, {("a",): histogram({0: 1, 5: 2, 23: 3}, 7_500_000_000)}),
)


@pytest.mark.parametrize(("accept", "content_type"), [
    ("", "text/plain; version=0.0.4; charset=utf-8"),
    ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
    ("text/html", "text/plain; version=0.0.4; charset=utf-8"),
    ("garbage;;q=x,,", "text/plain; version=0.0.4; charset=utf-8"),
    (OPENMETRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
])  # fmt: skip
def test_content_type(accept: str, content_type: str) -> None:
    """What was asked for, text otherwise."""
    assert render(snapshot(*ONE_OF_EACH), accept)[0].startswith(content_type)


@pytest.mark.parametrize(("accept", "parse"), FORMATS)
def test_nothing_is_lost_or_made_up(accept: str, parse: Parse) -> None:
    """Every series and no other comes back from the client library's own parser."""
    given = snapshot(*ONE_OF_EACH)
    assert samples(body(given, accept), parse) == expected(given)


@pytest.mark.parametrize(("accept", "parse"), FORMATS)
def test_types_and_help(accept: str, parse: Parse) -> None:
    """As declared; an info is a gauge in both formats, under one name."""
    declared = {one.metric.name: one.metric for one in ONE_OF_EACH}
    types = {Kind.INFO: "gauge"}
    for parsed in parse(body(snapshot(*ONE_OF_EACH), accept)):
        name = f"{parsed.name}_total" if parsed.type == "counter" else parsed.name
        metric = declared.pop(name)
        assert parsed.type == types.get(metric.kind, str(metric.kind))
        assert parsed.documentation == metric.help
    assert declared == {}


def test_help_is_there_once_a_family() -> None:
    """However many series it has; a repetition would be refused."""
    text = body(snapshot(*ONE_OF_EACH), "")
    lines = [line for line in text.splitlines() if line.startswith(("# HELP", "# TYPE"))]
    assert len(lines) == len(set(lines)) == 2 * len(ONE_OF_EACH)


def test_openmetrics_has_its_end() -> None:
    """`dump` prints the same as is served."""
    given = snapshot(*ONE_OF_EACH)
    assert render_openmetrics(given) == render(given, OPENMETRICS)[1]
    assert render_openmetrics(given).endswith(b"\n# EOF\n")


def test_histograms_are_cumulative() -> None:
    """Bounds rise, counts do not fall, and the last holds all."""
    given = snapshot(family(HISTOGRAM, {("a",): histogram({0: 1, 2: 2, 3: 5, 23: 7}, 10)}))
    found = [
        (float(sample.labels["le"]), sample.value)
        for parsed in parse_text(body(given, ""))
        for sample in parsed.samples
        if sample.name == f"{HISTOGRAM.name}_bucket"
    ]
    assert [bound for bound, _ in found] == sorted(bound for bound, _ in found)
    assert [count for _, count in found] == [8, 8, 8, 8, 15]
    assert found[-1][0] == math.inf


@pytest.mark.parametrize(("accept", "parse"), FORMATS)
@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
def test_labels_come_back_as_they_were(name: str, accept: str, parse: Parse) -> None:
    """Whatever a label holds, its sample is one and its value is whole."""
    name = bounded_name(name)
    given = snapshot(family(COUNTER, {(name, name): 3}))
    assert samples(body(given, accept), parse) == expected(given)


@pytest.mark.parametrize(("accept", "parse"), FORMATS)
@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
def test_from_a_command_line_to_the_parser(
    tree: ProcfsTree, name: str, accept: str, parse: Parse
) -> None:
    """What a tenant calls a VM is what a query finds, but for what no label may hold."""
    tree.process(10, ["qemu-system-x86_64", "-name", f"guest={name.replace(',', ',,')}"])
    given = Host(tree).snapshot(VmsCollector)
    found = [
        dict(labels)["vm"]
        for (metric, labels) in samples(body(given, accept), parse)
        if metric == "kvm_vm_info"
    ]
    # A NUL ends an argument, nothing else does.
    assert found == [bounded_name(name.partition("\0")[0]) or "pid-10"]


@pytest.mark.parametrize("kind", [Kind.COUNTER, Kind.GAUGE, Kind.INFO])
def test_a_histogram_is_no_number(kind: Kind) -> None:
    """A value of the wrong type is an error, never a wrong line."""
    ending = {Kind.COUNTER: "_total", Kind.INFO: "_info"}.get(kind, "")
    metric = Metric(f"kvm_vm_test{ending}", kind, "Help.")
    with pytest.raises(TypeError, match="is no number"):
        client_family(family(metric, {(): histogram({}, 0)}))


def test_a_number_is_no_histogram() -> None:
    """The other way round."""
    with pytest.raises(TypeError, match="kvm_vm_test_seconds: 5 is no histogram"):
        client_family(family(HISTOGRAM, {("a",): 5}))


def test_an_empty_snapshot() -> None:
    """No family, no line."""
    assert body(snapshot(), "") == ""
    assert body(snapshot(), OPENMETRICS) == "# EOF\n"


KINDS: tuple[Any, ...] = (VmsCollector, ExitsCollector, IoCollector, ExporterCollector)


def test_the_golden_scrape(host: Host) -> None:
    """A whole scrape looks as it did: names, labels, values, order.

    What differs from run to run is replaced by `golden_host.frozen`. After a change that
    is meant, `KVMEXPORTER_REGENERATE_GOLDEN=1 pytest tests/unit/views` writes the file
    anew; read `git diff tests/unit/views/golden` before you believe it.
    """
    golden_host(host)
    given = frozen(host.snapshot(*KINDS))
    golden.expect("metrics.txt", body(given, ""))


def test_every_metric_is_in_the_golden_scrape(host: Host) -> None:
    """One that is declared and never shown would escape it; these need what no test has."""
    golden_host(host)
    shown = {one.metric for one in host.snapshot(*KINDS).families}
    declared: set[Metric] = {metric for kind in KINDS for metric in kind.metrics}
    missing = {metric.name for metric in declared - shown}
    assert missing <= {
        "kvmexporter_bpf_program_runs_total",  # a program in the kernel
        "kvmexporter_bpf_program_run_seconds_total",
        "kvmexporter_bpf_missed_events_total",
        "kvm_vm_resident_memory_bytes",  # a process in the kernel
        "kvm_vm_io_handling_seconds",  # a VMM that can be asked
        "kvm_vm_virtqueue_kicks_total",  # a VMM that can be asked
        "kvmexporter_vm_refresh_age_seconds",
    }


@pytest.mark.parametrize(("accept", "parse"), FORMATS)
def test_the_golden_scrape_parses(host: Host, accept: str, parse: Parse) -> None:
    """In both formats, and completely."""
    golden_host(host)
    given = frozen(host.snapshot(*KINDS))
    assert samples(body(given, accept), parse) == expected(given)


def test_promtool_finds_nothing_to_say() -> None:
    """Prometheus's own linter, on the golden scrape."""
    text = Path(golden.path("metrics.txt")).read_text()
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_family_without_series_is_no_line() -> None:
    """The sampler leaves such families out; the encoder is not asked to."""
    assert "kvm_vm_test_total{" not in body(snapshot(Family(COUNTER)), "")


@pytest.mark.parametrize("is_there", [True, False])
def test_a_large_response_is_compressed_by_another_library(
    is_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a megabyte on, if it is there; what comes out is the same, whoever compressed it."""
    encoding = choose("")
    if not is_there:
        monkeypatch.setitem(sys.modules, "isal", None)
    for vms in (10, 2000):
        family = Family(USED)
        for vm in range(vms):
            family.group((f"vm-{vm}",), {(f"reason-{n}", "io"): 1000 + n for n in range(16)})
        plain, packed = (Writer(encoding, (), compress=compress) for compress in (False, True))
        for writer in (plain, packed):
            writer.write(family)
        text, body = plain.body(), packed.body()
        assert gzip.decompress(body) == text
        assert len(body) * 5 < len(text)
        by_zlib = isinstance(packed._gzip, type(zlib.compressobj()))
        assert by_zlib == (not is_there or len(text) < 1 << 20)


USED = Metric("kvm_vm_exits_total", Kind.COUNTER, "Exits.", ("vm", "reason", "class"))
