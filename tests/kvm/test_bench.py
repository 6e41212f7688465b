# SPDX-License-Identifier: Apache-2.0
"""The benchmark still runs: a small fleet, one program on a tracepoint, and its documents."""

import json
import subprocess
import sys

import pytest

from tests.bench import budgets, report
from tests.bench.benchmarks import Benchmarks
from tests.bench.contenders import EVENTS, Attached, run_statistics
from tests.bench.scrape import Cost
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
    return Cost(**found)


def test_a_small_fleet(cost: Cost) -> None:
    """Every VM has the series of the recorded guest, from real maps, sockets and processes."""
    assert cost.vms == VMS
    assert cost.by_metric["kvm_vm_info"] == 1
    assert cost.by_metric["kvm_vm_exits_total"] == 16
    assert cost.by_metric["kvm_vm_virtqueue_kicks_total"] == 4
    assert cost.by_metric["kvm_vm_balloon_actual_bytes"] == 1
    assert cost.by_collector["exits"][0] > 0
    assert 0 < cost.cpu_seconds < cost.wall_seconds * 2


def test_documents(cost: Cost) -> None:
    """Tables and documents are made of what was measured."""
    text = report.markdown(report.of_scrapes([cost]))
    assert f"{cost.series:,}" in text
    read = Benchmarks(text)
    host = read.host(VMS)
    assert (host.series, host.series_per_vm) == (cost.series, round(cost.series_per_vm))
    assert host.gzip_bytes == pytest.approx(cost.gzip_bytes, abs=512)
    assert host.cpu_seconds == pytest.approx(cost.cpu_seconds, abs=0.0005)
    assert read.by_metric == cost.by_metric
    assert budgets.of_scrapes([cost]) == []  # there are none for two VMs


def test_programs_are_attached() -> None:
    """Each peer's program is attached to each event, and the kernel keeps account of it."""
    require_kvm()
    with run_statistics(), Attached("empty,hash") as attached:
        assert attached.runs().keys() == {
            f"{kind}:{event}" for kind in ("empty", "hash") for event in EVENTS
        }
