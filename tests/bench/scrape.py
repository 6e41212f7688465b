# SPDX-License-Identifier: Apache-2.0
"""What a scrape costs with many VMs: a real server, real BPF maps, real processes.

    unshare --pid --fork --mount-proc python -m tests.bench.scrape OUTPUT [SIZE …]

writes what was measured as JSON. In a PID namespace of its own, so that the server sees the
VMs that are meant and no others.
"""

import gzip
import json
import re
import statistics
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kvmexporter.registry import COLLECTORS
from kvmexporter.visits import _GLANCE_SECONDS, _GLANCE_WEIGHT, _REFRESH_SECONDS
from tests.bench.fleet import TAPS, VCPUS, Fleet
from tests.bench.losses import INTERVAL_SECONDS
from tests.bench.noise import Interval, median_interval
from tests.bench.pace import Pace
from tests.bench.processes import (
    cpu_seconds,
    forget_peak,
    map_bytes,
    peak_resident_bytes,
    resident_bytes,
)
from tests.kvm.exporter import Exporter, Scrape, parse

SIZES = (10, 50, 100, 500, 1000)
_SCRAPES, _MOST_SCRAPES = 9, 60
_LEAST_UNDISTURBED = 5
_VISITED, _GLANCED = "kvmexporter_vm_refresh_age_seconds", "kvm_vm_balloon_age_seconds"
GLANCES_A_VISIT = _REFRESH_SECONDS / _GLANCE_SECONDS
_SETTLE_SECONDS = 300.0
_AT_REST_SHARE = 0.1  # of a core: no visits but for single ones
_VISITED_AGAIN = 250  # at most
_HURRY_SECONDS = 10.0  # by then visits to them have begun; else one could fall into a scrape
_DURATION = re.compile(
    r'^kvmexporter_collector_duration_seconds\{collector="([^"]+)"\} (\S+)', re.MULTILINE
)
_PROMETHEUS = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"


@dataclass(frozen=True, slots=True)
class Window:
    """A time in which nothing but its daily work is asked of a server.

    Attributes:
        seconds: how long.
        share: of a core that the server took.
        scrapes: that fell into it.
        scraping_seconds: processor time of those.
        visits: to VMs' QEMUs that fell into it.
        glances: at balloons alone, of VMs that were not visited; of each VM's, the last.
    """

    seconds: float
    share: float
    scrapes: int
    scraping_seconds: float
    visits: int
    glances: int


@dataclass(frozen=True, slots=True)
class Cost:
    """What a scrape costs.

    Attributes:
        vms: how many there are.
        per_vcpu: whether exits are also told by vCPU.
        without: the collector that is off, "" if none is.
        cpu_seconds: processor time of the server for one scrape, where nobody disturbed it.
        scrapes: how many there were to choose from.
        undisturbed: how many of those were left alone by neighbours; if too few, all count.
        cpu_interval: of that median, `noise.median_interval`.
        wall_seconds: what the client waits.
        body_bytes: the response.
        gzip_bytes: the response, encoded.
        resident_bytes: of the server after the scrapes, and after the window if there is one.
        peak_bytes: of the server while it was scraped.
        map_bytes: the kernel's memory of its BPF maps.
        series: in all.
        series_per_vm: of those with a `vm` label or of a VM's tap.
        by_metric: metric → series of one VM.
        by_collector: collector → (series of one VM, seconds it took, median).
        rest_seconds: what a client waits beyond all collectors, median.
        refresh_seconds: how long after a visit a VM's QEMU is visited again.
        first_visit_seconds: processor time of the first visit to a VM; None if none was seen.
        visit_seconds: of a visit to one whose machine is as it was; None if none was seen.
        window: some intervals of 15 s with a scrape in each; None if there were none.
    """

    vms: int
    per_vcpu: bool
    cpu_seconds: float
    cpu_interval: Interval | None
    wall_seconds: float
    body_bytes: int
    gzip_bytes: int
    resident_bytes: int
    peak_bytes: int
    map_bytes: int
    series: int
    series_per_vm: float
    by_metric: dict[str, float]
    by_collector: dict[str, tuple[float, float]]
    rest_seconds: float
    refresh_seconds: float
    first_visit_seconds: float | None = None
    visit_seconds: float | None = None
    window: Window | None = None
    without: str = ""
    scrapes: int = _SCRAPES
    undisturbed: int = _SCRAPES

    @property
    def is_undisturbed(self) -> bool:
        """Whether enough scrapes were left alone to be the only ones that count."""
        return _are_enough(self.undisturbed)

    @property
    def is_default(self) -> bool:
        """Whether everything is as it is by default."""
        return not (self.per_vcpu or self.without)

    @property
    def missing_visits_share(self) -> float | None:
        """Of a core: the visits and glances due in the time of the window that were not in it."""
        if self.window is None or self.visit_seconds is None:
            return None
        due = self.vms / self.refresh_seconds * (1 + _GLANCE_WEIGHT * GLANCES_A_VISIT)
        seen = self.window.visits + self.window.glances * _GLANCE_WEIGHT
        return max(due - seen / self.window.seconds, 0.0) * self.visit_seconds

    @property
    def share(self) -> float | None:
        """Of a core, with a scrape every 15 s, refreshes included; None if it was not measured.

        The scrapes of the window count as they take undisturbed: there were few.
        """
        missing = self.missing_visits_share
        if self.window is None or missing is None:
            return None
        disturbance = self.window.scraping_seconds - self.window.scrapes * self.cpu_seconds
        return self.window.share - disturbance / self.window.seconds + missing


def measure(
    fleet: Fleet, pace: Pace, *, per_vcpu: bool = False, without: str = "", intervals: int = 0
) -> Cost:
    """Start a server, fill its maps and scrape it."""
    flags = ["--collector.exits.per-vcpu"] if per_vcpu else []
    flags += [f"--no-collector.{without}"] if without else []
    with Exporter(*flags, everything=False) as server:
        first, visit = _visit_all(server, fleet), _visit_again(server, fleet)
        forget_peak(server.pid)
        asked = _ask_often(server, pace)
        peak = peak_resident_bytes(server.pid)
        window = _window(server, intervals) if intervals else None
        resident, maps = resident_bytes(server.pid), map_bytes(server.pid)
        scrape = _scraped(server)
    undisturbed = [one for one in asked if one.is_undisturbed]
    chosen = undisturbed if _are_enough(len(undisturbed)) else asked
    plain = [gzip.decompress(one.body).decode() for one in chosen]
    took = [durations(text) for text in plain]
    names = _per_vm(scrape, len(fleet))
    cpu = [one.cpu_seconds for one in chosen]
    return Cost(
        vms=len(fleet),
        per_vcpu=per_vcpu,
        cpu_seconds=statistics.median(cpu),
        cpu_interval=median_interval(cpu),
        wall_seconds=statistics.median(one.wall_seconds for one in chosen),
        body_bytes=len(plain[-1].encode()),
        gzip_bytes=len(chosen[-1].body),
        resident_bytes=resident,
        peak_bytes=peak,
        map_bytes=maps,
        series=len(scrape.samples),
        series_per_vm=sum(names.values()),
        by_metric=names,
        by_collector=_by_collector(names, took),
        rest_seconds=statistics.median(
            one.wall_seconds - sum(each.values()) for one, each in zip(chosen, took, strict=True)
        ),
        refresh_seconds=scrape.sum("kvmexporter_vm_refresh_interval_seconds"),
        first_visit_seconds=first,
        visit_seconds=visit,
        window=window,
        without=without,
        scrapes=len(asked),
        undisturbed=len(undisturbed),
    )


def _are_enough(undisturbed: int) -> bool:
    """Whether so many scrapes that were left alone are enough to be the only ones that count."""
    return undisturbed >= _LEAST_UNDISTURBED


def read(found: Mapping[str, Any]) -> Cost:
    """From JSON."""
    window = found["window"]
    return Cost(**{**found, "window": window and Window(**window)})


def _visit_all(server: Exporter, fleet: Fleet) -> float | None:
    """Fill the maps and wait until every VM has been visited.

    Returns:
        Processor time of a visit: what the server took until it came to rest, scrapes apart.
    """
    began, used = time.monotonic(), cpu_seconds(server.pid)
    assert fleet.count(server.pid) == len(fleet) * VCPUS
    return _seconds_of_a_visit(server, began, used, len(fleet), 0)


def _visit_again(server: Exporter, fleet: Fleet) -> float | None:
    """Have VMs visited that are as they were: the same, of such a visit."""
    began, used = time.monotonic(), cpu_seconds(server.pid)
    touched = fleet.touch_unknown(server.pid, _VISITED_AGAIN)
    time.sleep(_HURRY_SECONDS)
    return _seconds_of_a_visit(server, began, used, len(fleet), touched)


def _seconds_of_a_visit(
    server: Exporter, began: float, used: float, vms: int, visits_at_least: int
) -> float | None:
    """Wait until the visits are over that began then, when the server had used so much."""
    deadline = began + _SETTLE_SECONDS
    scraping = 0.0
    while True:
        while _share_of_a_second(server) > _AT_REST_SHARE:
            assert time.monotonic() < deadline, "the server never rests"
        before, passed = cpu_seconds(server.pid), time.monotonic() - began
        ages = _ages(_scraped(server), _VISITED)
        visits = sum(age < passed for age in ages)
        if len(ages) >= vms and visits >= visits_at_least:
            return (before - used - scraping) / visits if visits else None
        scraping += cpu_seconds(server.pid) - before
        assert time.monotonic() < deadline, "not every VM was visited"


def _share_of_a_second(server: Exporter) -> float:
    used = cpu_seconds(server.pid)
    time.sleep(1.0)
    return cpu_seconds(server.pid) - used


def _ages(scrape: Scrape, name: str) -> list[float]:
    """How long ago each VM was asked, seconds."""
    return [age for _, age in scrape.values(name)]


def _ask(server: Exporter) -> bytes:
    """As Prometheus does."""
    status, _, body = server.get(Accept=_PROMETHEUS, Accept_Encoding="gzip")
    assert status == 200, body
    return body


@dataclass(frozen=True, slots=True)
class _Asked:
    """One scrape: what it took, what came, whether no neighbour was seen meanwhile."""

    cpu_seconds: float
    wall_seconds: float
    body: bytes
    is_undisturbed: bool


def _ask_often(server: Exporter, pace: Pace) -> list[_Asked]:
    """Scrape until enough scrapes were left alone, or too many were not."""
    asked: list[_Asked] = []
    while sum(one.is_undisturbed for one in asked) < _SCRAPES and len(asked) < _MOST_SCRAPES:
        alone = pace.is_best()
        began, used = time.monotonic(), cpu_seconds(server.pid)
        body = _ask(server)
        wall, cpu = time.monotonic() - began, cpu_seconds(server.pid) - used
        asked.append(_Asked(cpu, wall, body, pace.is_best() and alone))
    return asked


def _scraped(server: Exporter) -> Scrape:
    text = gzip.decompress(server.get(Accept_Encoding="gzip")[2])
    return parse(text.decode())


def _window(server: Exporter, intervals: int) -> Window:
    began, used = time.monotonic(), cpu_seconds(server.pid)
    scraping = 0.0
    for _ in range(intervals):
        before = cpu_seconds(server.pid)
        _ask(server)
        scraping += cpu_seconds(server.pid) - before
        passed = (time.monotonic() - began) % INTERVAL_SECONDS
        time.sleep(INTERVAL_SECONDS - passed)
    seconds = time.monotonic() - began
    share = (cpu_seconds(server.pid) - used) / seconds
    passed = time.monotonic() - began
    scrape = _scraped(server)
    visits = sum(age < passed for age in _ages(scrape, _VISITED))
    asked = sum(age < passed for age in _ages(scrape, _GLANCED))
    return Window(seconds, share, intervals, scraping, visits, max(asked - visits, 0))


def durations(text: str) -> dict[str, float]:
    """Collector → seconds, as a scrape tells them."""
    return {found[1]: float(found[2]) for found in _DURATION.finditer(text)}


def _per_vm(scrape: Scrape, vms: int) -> dict[str, float]:
    """Metric → series of one VM, those of its tap included."""
    names = Counter(
        name
        for name, labels, _ in scrape.samples
        if "vm" in labels or labels.get("nic", "").startswith(TAPS)
    )
    return {name: count / vms for name, count in names.items()}


def _by_collector(
    names: Mapping[str, float], took: Sequence[Mapping[str, float]]
) -> dict[str, tuple[float, float]]:
    found = {}
    for kind in COLLECTORS:
        own = {metric.name for metric in kind.metrics}
        series = sum(
            count for name, count in names.items()
            if name in own or name.rpartition("_")[0] in own
        )  # fmt: skip
        seconds = statistics.median(each.get(kind.name, 0.0) for each in took)
        found[kind.name] = (series, seconds)
    return found


def main(output: Path, sizes: tuple[int, ...]) -> None:
    """Measure every size."""
    costs = []
    pace = Pace()
    pace.learn()
    with Fleet() as fleet:
        for size in sizes:
            fleet.grow(size)
            costs.append(measure(fleet, pace, intervals=4 if size == 500 else 0))
            print(costs[-1], flush=True)
            if size == 100:
                costs.append(measure(fleet, pace, without="io"))
            if size == 500:
                costs.append(measure(fleet, pace, per_vcpu=True))
    output.write_text(json.dumps([asdict(cost) for cost in costs]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), tuple(map(int, sys.argv[2:])) or SIZES)
