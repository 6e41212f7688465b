# SPDX-License-Identifier: Apache-2.0
"""The benchmark still runs: a small fleet, one program on a tracepoint, and its documents."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator

import pytest

from kvmexporter.registry import COLLECTORS
from tests.bench import report
from tests.bench.benchmarks import Benchmarks
from tests.bench.contenders import (
    EVENTS,
    HARDWARE,
    OURS,
    Attached,
    Contender,
    run_statistics,
    running,
)
from tests.bench.events import guest as benched
from tests.bench.processes import cpu_seconds, map_bytes
from tests.bench.recording import linux_guest
from tests.bench.scrape import Cost, read
from tests.guest import BareMetalGuest
from tests.guest.requirements import require_kvm

VMS = 2


@pytest.fixture(scope="module")
def cost(tmp_path_factory: pytest.TempPathFactory) -> Cost:
    """What a scrape of two VMs costs."""
    require_kvm()
    output = tmp_path_factory.mktemp("bench") / "costs.json"
    namespace = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = [sys.executable, "-m", "tests.bench.scrape", str(output), str(VMS)]
    subprocess.run([*namespace, *command], check=True, stdout=subprocess.DEVNULL)
    (found,) = json.loads(output.read_text())
    return read(found)


@pytest.fixture(scope="module")
def guest() -> Iterator[BareMetalGuest]:
    """The one that makes the events."""
    require_kvm()
    with benched() as one:
        yield one


def test_a_small_fleet(cost: Cost) -> None:
    """Every VM has the series of the recorded guest, from real maps, sockets and processes."""
    assert cost.vms == VMS
    recorded = Counter(name for name, _, _ in linux_guest().series)
    for name in ("kvm_vm_info", "kvm_vm_exits_total", "kvm_vm_virtqueue_kicks_total"):
        assert cost.by_metric[name] == recorded[name]
    on_demand = {
        metric.name + ("_bucket" if metric.buckets else "")
        for kind in COLLECTORS
        for metric in kind.metrics
        if metric.buckets or (metric.extra and not metric.usual)
    }
    # The fleet's processes move no packet.
    assert recorded.keys() - on_demand - cost.by_metric.keys() == {
        "kvm_vm_vhost_cpu_seconds_total", "kvm_vm_vhost_workers",
    }  # fmt: skip
    for name in ("exits", "io", "balloon", "vm_clock", "vm_time"):
        assert cost.by_collector[name][0] > 0
    assert 0 < cost.cpu_seconds < cost.wall_seconds * 2
    low, high = cost.cpu_interval or (0, 0)
    assert low <= cost.cpu_seconds <= high
    assert 0 <= cost.undisturbed <= 9 <= cost.scrapes <= 60


def test_what_a_scrape_is_made_of(cost: Cost) -> None:
    """Collectors, and what is not theirs."""
    collectors = sum(seconds for _, seconds in cost.by_collector.values())
    assert collectors > 0
    assert cost.rest_seconds > 0


def test_memory(cost: Cost) -> None:
    """The server's, its peak and the kernel's of its maps."""
    assert cost.peak_bytes >= cost.body_bytes
    assert cost.resident_bytes > 1 << 20
    assert cost.map_bytes > 1 << 10


def test_visits(cost: Cost) -> None:
    """So few VMs are visited every minute; there was no time to see what that takes in all."""
    assert cost.refresh_seconds == 60
    assert cost.window is None
    assert cost.share is None


def test_documents(cost: Cost) -> None:
    """Tables and documents are made of what was measured."""
    text = report.markdown(report.of_scrapes([cost]))
    assert f"{cost.series:,}" in text
    told = Benchmarks(text)
    host = told.host(VMS)
    assert (host.series, host.series_per_vm) == (cost.series, round(cost.series_per_vm))
    assert host.gzip_bytes == pytest.approx(cost.gzip_bytes, abs=512)
    assert host.cpu_seconds == pytest.approx(cost.cpu_seconds, abs=0.0005)
    assert told.by_metric == cost.by_metric


def test_programs_are_attached() -> None:
    """Each peer's program is attached to each event, and the kernel keeps account of it."""
    require_kvm()
    with run_statistics(), Attached("empty,hash") as attached:
        assert attached.runs().keys() == {
            f"{kind}:{event}" for kind in ("empty", "hash") for event in EVENTS
        }


@pytest.mark.parametrize("one", [OURS, HARDWARE], ids=lambda one: one.name)
def test_ours_is_attached(guest: BareMetalGuest, one: Contender) -> None:
    """It has a process that can be scraped, as a contender that tells when it is ready."""
    assert guest.pid
    with running(one) as here:
        assert here.scrape
        used = cpu_seconds(here.pid)
        here.scrape()
        assert cpu_seconds(here.pid) > used
        assert map_bytes(here.pid) > 1 << 20
    assert one.tells
