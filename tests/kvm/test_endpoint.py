# SPDX-License-Identifier: Apache-2.0
"""The endpoint: formats, pages, load, and a clean end."""

import gzip
import itertools
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics

from kvmexporter.registry import COLLECTORS
from tests.guest import BareMetalGuest
from tests.guest.requirements import require_kvm
from tests.kvm.exporter import Exporter, Scrape, parse

OPENMETRICS = "application/openmetrics-text; version=1.0.0"
CLIENTS, SCRAPES_EACH = 4, 250


@pytest.fixture(scope="module")
def exporter() -> Iterator[Exporter]:
    require_kvm()
    with Exporter() as running:
        yield running


@pytest.fixture(scope="module")
def guest(exporter: Exporter) -> Iterator[BareMetalGuest]:  # noqa: ARG001 - counts from its start
    with BareMetalGuest("busy") as machine:
        machine.wait_ready()
        yield machine


def test_text_is_the_default(exporter: Exporter) -> None:
    """A client that asks for nothing gets text 0.0.4, uncompressed."""
    status, headers, body = exporter.get()
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=0.0.4")
    assert "content-encoding" not in headers
    assert parse(body.decode()).values("kvmexporter_build_info")


def test_openmetrics_when_accepted(exporter: Exporter, guest: BareMetalGuest) -> None:
    """A client that accepts OpenMetrics gets it, well-formed."""
    guest.run(timer=3)
    status, headers, body = exporter.get(Accept=OPENMETRICS)
    assert status == 200
    assert headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name: family for family in parse_openmetrics(body.decode())}  # type: ignore[no-untyped-call] # it has no hints
    assert families["kvm_vm_io_exits"].type == "counter"
    assert families["kvm_vm_halt_seconds"].type == "histogram"


def test_gzip_when_accepted(exporter: Exporter) -> None:
    """A client that accepts gzip gets the same metrics, smaller."""
    _, headers, body = exporter.get(Accept_Encoding="gzip")
    assert headers["content-encoding"] == "gzip"
    text = gzip.decompress(body).decode()
    assert parse(text).values("kvmexporter_build_info")
    assert len(body) < len(text) / 3


def test_the_page_lists_the_collectors(exporter: Exporter) -> None:
    """/ links to the metrics and names every collector with its state."""
    status, headers, body = exporter.get("/")
    page = body.decode()
    assert status == 200
    assert headers["content-type"].startswith("text/html")
    assert 'href="/metrics"' in page
    scrape = exporter.scrape()
    for kind in COLLECTORS:
        works = scrape.values("kvmexporter_collector_success", collector=kind.name)
        state = "ok" if works and works[0][1] else "unavailable"
        assert f'<td class="whole">{kind.name}</td><td class="whole state">{state}</td>' in page
    assert '<td class="whole">exits</td><td class="whole state">ok</td>' in page


@pytest.mark.parametrize(
    ("path", "status"), [("/-/healthy", 200), ("/-/ready", 200), ("/nowhere", 404)]
)
def test_other_paths(exporter: Exporter, path: str, status: int) -> None:
    """Health, readiness, and nothing else; an error page gives nothing away."""
    answer, headers, body = exporter.get(path)
    assert answer == status
    assert headers["content-type"].startswith("text/plain")
    assert "server" not in headers
    assert b"Traceback" not in body


def test_other_flags() -> None:
    """A path and addresses of the user's choice; a collector left out; JSON logs."""
    with Exporter(
        "--web.telemetry-path", "/numbers", "--no-collector.io", "--log.format", "logfmt",
        "--web.listen-address", "[::1]:0",
    ) as exporter:  # fmt: skip
        assert exporter.get("/metrics")[0] == 404
        status, _, body = exporter.get("/numbers")
        assert status == 200
        names = [
            labels for labels, _ in parse(body.decode()).values("kvmexporter_collector_success")
        ]
        assert {"collector": "exits"} in names
        assert {"collector": "io"} not in names
        assert "[::1]:" in exporter.log()


def test_every_flag_is_a_variable_too() -> None:
    """KVMEXPORTER_… does what the flag does."""
    environment = {
        "KVMEXPORTER_WEB_TELEMETRY_PATH": "/numbers",
        "KVMEXPORTER_COLLECTOR_IO": "false",
        "KVMEXPORTER_COLLECTOR_EXITS_PER_VCPU": "true",
    }
    with Exporter(environment=environment) as exporter:
        status, _, body = exporter.get("/numbers")
        assert status == 200
        assert not parse(body.decode()).values("kvmexporter_collector_success", collector="io")


def test_scrapes_under_load(exporter: Exporter, guest: BareMetalGuest) -> None:
    """1,000 scrapes by 4 clients while the guest hammers ports: all parse, no counter goes down."""
    stop = threading.Event()

    def hammer() -> int:
        rounds = 0
        while not stop.is_set():
            guest.run(serial_write=503, pit_write=499, pic_read=251, hpet_read=127, hpet_write=131)
            rounds += 1
        return rounds

    def scrape_many(_: int) -> list[Scrape]:
        return [exporter.scrape() for _ in range(SCRAPES_EACH)]

    with ThreadPoolExecutor(CLIENTS + 1) as threads:
        hammering = threads.submit(hammer)
        try:
            by_client = list(threads.map(scrape_many, range(CLIENTS)))
        finally:
            stop.set()
        assert hammering.result() > 0
    grew = 0
    for scrapes in by_client:
        assert len(scrapes) == SCRAPES_EACH
        for earlier, later in itertools.pairwise(scrapes):
            before, after = counters(earlier), counters(later)
            assert before.keys() <= after.keys()
            for key, value in before.items():
                assert value <= after[key], f"{key} went from {value} to {after[key]}"
        grew += sum(counters(scrapes[-1]).values()) > sum(counters(scrapes[0]).values())
    assert grew == CLIENTS


def counters(scrape: Scrape) -> dict[tuple[str, ...], float]:
    suffixes = ("_total", "_bucket", "_count", "_sum")
    return {
        (name, *(f"{key}={labels[key]}" for key in sorted(labels))): value
        for name, labels, value in scrape.samples
        if name.startswith("kvm_vm_") and name.endswith(suffixes)
    }


def test_a_counter_begins_at_the_first_event_and_lives_on(
    exporter: Exporter, guest: BareMetalGuest
) -> None:
    """Pausing and resuming the guest moves nothing that it did not do."""
    before = exporter.scrape().sum("kvm_vm_io_exits_total", vm="busy", direction="read")
    guest.pause()
    paused = exporter.scrape().sum("kvm_vm_io_exits_total", vm="busy", direction="read")
    guest.resume()
    guest.run(pic_read=17)
    after = exporter.scrape().sum("kvm_vm_io_exits_total", vm="busy", direction="read")
    assert paused == before
    assert after == before + 17


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly(number: signal.Signals) -> None:
    """Exit code 0, the last log line says so, and no probe stays behind."""
    require_kvm()
    with Exporter() as exporter:
        assert exporter.scrape().values("kvmexporter_build_info")
        assert exporter.end(number) == 0
        assert exporter.log().splitlines()[-1].endswith("msg=ended")


def test_curl_sees_the_guest_move(exporter: Exporter, guest: BareMetalGuest) -> None:
    """What README promises: the counters in `curl` move."""

    def lines() -> str:
        url = f"http://127.0.0.1:{exporter.port}/metrics"
        done = subprocess.run(["curl", "-s", url], capture_output=True, text=True, check=True)
        return "\n".join(line for line in done.stdout.splitlines() if "kvm_vm_io_exits" in line)

    first = lines()
    guest.run(serial_read=5)
    time.sleep(0.1)
    assert first != lines()
