# SPDX-License-Identifier: Apache-2.0
"""What a scrape costs with many VMs: a real server, real BPF maps, real processes.

    unshare --pid --fork --mount-proc python -m tests.bench.scrape OUTPUT [SIZE …]

writes what was measured as JSON. In a PID namespace of its own, so that the server sees the
VMs that are meant and no others.
"""

import gzip
import json
import statistics
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from kvmexporter.registry import COLLECTORS
from tests.bench.fleet import VCPUS, Fleet
from tests.bench.processes import cpu_seconds, resident_bytes
from tests.kvm.exporter import Exporter, Scrape, parse

SIZES = (10, 100, 500, 1000)
_SCRAPES = 9
_SETTLE_SECONDS = 300.0
_INTERVAL_SECONDS = 15.0
_PROMETHEUS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


@dataclass(frozen=True, slots=True)
class Cost:
    """What a scrape costs.

    Attributes:
        vms: how many there are.
        per_vcpu: whether exits are also told by vCPU.
        without: the collector that is off, "" if none is.
        cpu_seconds: processor time of the server for one scrape.
        cpu_spread: the largest difference from it among the repeated ones.
        wall_seconds: what the client waits.
        body_bytes: the response.
        gzip_bytes: the response, encoded.
        resident_bytes: of the server afterwards.
        series: in all.
        series_per_vm: of those with a `vm` label.
        by_metric: metric → series of one VM.
        by_collector: collector → (series of one VM, seconds it took).
        idle_share: of a core, over some intervals of 15 s with a scrape in each.
    """

    vms: int
    per_vcpu: bool
    cpu_seconds: float
    cpu_spread: float
    wall_seconds: float
    body_bytes: int
    gzip_bytes: int
    resident_bytes: int
    series: int
    series_per_vm: float
    by_metric: dict[str, float]
    by_collector: dict[str, tuple[float, float]]
    idle_share: float | None = None
    without: str = ""

    @property
    def is_default(self) -> bool:
        """Whether everything is as it is by default."""
        return not (self.per_vcpu or self.without)


def measure(fleet: Fleet, *, per_vcpu: bool = False, without: str = "", intervals: int = 0) -> Cost:
    """Start a server, fill its maps and scrape it."""
    flags = ["--collector.exits.per-vcpu"] if per_vcpu else []
    flags += [f"--no-collector.{without}"] if without else []
    with Exporter(*flags, everything=False) as server:
        assert fleet.count(server.pid) == len(fleet) * VCPUS
        _settle(server, len(fleet))
        cpu, wall, bodies = [], [], []
        for _ in range(_SCRAPES):
            began, used = time.monotonic(), cpu_seconds(server.pid)
            body = _ask(server)
            wall.append(time.monotonic() - began)
            cpu.append(cpu_seconds(server.pid) - used)
            bodies.append(body)
        share = _share(server, intervals) if intervals else None
        resident = resident_bytes(server.pid)
        scrape = _scraped(server)
    plain = gzip.decompress(bodies[-1])
    median = statistics.median(cpu)
    per_vm, collectors = _by_metric(scrape, len(fleet))
    return Cost(
        vms=len(fleet),
        per_vcpu=per_vcpu,
        cpu_seconds=median,
        cpu_spread=max(abs(one - median) for one in cpu),
        wall_seconds=statistics.median(wall),
        body_bytes=len(plain),
        gzip_bytes=len(bodies[-1]),
        resident_bytes=resident,
        series=len(scrape.samples),
        series_per_vm=sum(per_vm.values()),
        by_metric=per_vm,
        by_collector=collectors,
        idle_share=share,
        without=without,
    )


def _settle(server: Exporter, vms: int) -> None:
    """Wait until every VM has been visited."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while len(_scraped(server).values("kvmexporter_vm_refresh_age_seconds")) < vms:
        assert time.monotonic() < deadline, "not every VM was visited"
        time.sleep(2)


def _ask(server: Exporter) -> bytes:
    """As Prometheus does."""
    return server.get(Accept=_PROMETHEUS, Accept_Encoding="gzip")[2]


def _scraped(server: Exporter) -> Scrape:
    text = gzip.decompress(server.get(Accept_Encoding="gzip")[2])
    return parse(text.decode())


def _share(server: Exporter, intervals: int) -> float:
    """The share of a core, refreshes included, with one scrape an interval."""
    began, used = time.monotonic(), cpu_seconds(server.pid)
    for _ in range(intervals):
        _ask(server)
        passed = (time.monotonic() - began) % _INTERVAL_SECONDS
        time.sleep(_INTERVAL_SECONDS - passed)
    return (cpu_seconds(server.pid) - used) / (time.monotonic() - began)


def _by_metric(scrape: Scrape, vms: int) -> tuple[dict[str, float], dict[str, tuple[float, float]]]:
    names: Counter[str] = Counter()
    for name, labels, _ in scrape.samples:
        if "vm" in labels:
            names[name] += 1
    collectors = {}
    for kind in COLLECTORS:
        own = {metric.name for metric in kind.metrics}
        series = sum(
            count for name, count in names.items()
            if name in own or name.rpartition("_")[0] in own
        )  # fmt: skip
        took = scrape.sum("kvmexporter_collector_duration_seconds", collector=kind.name)
        collectors[kind.name] = (series / vms, took)
    return {name: count / vms for name, count in names.items()}, collectors


def main(output: Path, sizes: tuple[int, ...]) -> None:
    """Measure every size."""
    costs = []
    with Fleet() as fleet:
        for size in sizes:
            fleet.grow(size)
            costs.append(measure(fleet, intervals=4 if size == 500 else 0))
            print(costs[-1], flush=True)
            if size == 100:
                costs.append(measure(fleet, without="io"))
            if size == 500:
                costs.append(measure(fleet, per_vcpu=True))
    output.write_text(json.dumps([asdict(cost) for cost in costs]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), tuple(map(int, sys.argv[2:])) or SIZES)
