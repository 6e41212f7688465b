# SPDX-License-Identifier: Apache-2.0
"""How long it takes from `exec` to the first good scrape, and what the loader takes for it."""

import re
import statistics
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from kvmexporter.cli import session
from tests.bench.noise import Interval, median_interval
from tests.bench.processes import cpu_seconds, peak_resident_bytes
from tests.kvm.exporter import Exporter

_DROP_PAGE_CACHE = "1"
_LOADED = re.compile(r"BPF programs attached.* seconds=([\d.]+)")


@dataclass(frozen=True, slots=True)
class Start:
    """Starts of one kind.

    Attributes:
        kind: what was there before.
        seconds: from `exec` to the first scrape, median.
        interval: of that median, `noise.median_interval`.
        loader_bytes: the most memory that the loader child occupied; None if it was never seen.
        loader_gone: whether it had ended by the first scrape, each time.
        loader_seconds: what the loader said it took, median.
        cpu_seconds: processor time of the server by the first scrape, median.
    """

    kind: str
    seconds: float
    interval: Interval | None
    loader_bytes: int | None
    loader_gone: bool
    loader_seconds: float
    cpu_seconds: float


COLD = "cold: nothing in memory, nothing compiled"
COMPILING = "nothing compiled"
WARM = "warm"


class _Loader(threading.Thread):
    """Watches for the loader, until it has ended."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak_bytes = 0
        self.ended = threading.Event()

    def run(self) -> None:
        me = psutil.Process()
        while not self.ended.wait(0.005):
            for child in me.children(recursive=True):
                try:
                    if any(word.endswith("bpf/loader.py") for word in child.cmdline()):
                        self.peak_bytes = max(self.peak_bytes, peak_resident_bytes(child.pid))
                except (psutil.Error, OSError, ValueError):  # it ends at this moment
                    continue


def measure(starts: int) -> list[Start]:
    """Start it cold once, then twice without what it keeps compiled, and then so many times."""
    Path("/proc/sys/vm/drop_caches").write_text(_DROP_PAGE_CACHE)
    return [
        _measure(COLD, 1, forget=True),
        _measure(COMPILING, 2, forget=True),
        _measure(WARM, starts, forget=False),
    ]


def _measure(kind: str, starts: int, *, forget: bool) -> Start:
    seconds, peaks, gone, loading, used = [], [], [], [], []
    for _ in range(starts):
        for kept in session.COMPILED.iterdir() if forget and session.COMPILED.exists() else ():
            kept.unlink()
        loader = _Loader()
        loader.start()
        began = time.monotonic()
        with Exporter() as exporter:
            scrape = exporter.scrape()
            seconds.append(time.monotonic() - began)
            assert scrape.sum("kvmexporter_bpf_attached", tracepoint="kvm_pio") == 1
            gone.append(not psutil.Process(exporter.pid).children())
            used.append(cpu_seconds(exporter.pid))
            found = _LOADED.search(exporter.log())
            assert found, exporter.log()
            loading.append(float(found[1]))
        loader.ended.set()
        loader.join()
        peaks.append(loader.peak_bytes)
    return Start(
        kind, statistics.median(seconds), median_interval(seconds), max(peaks) or None, all(gone),
        statistics.median(loading), statistics.median(used),
    )  # fmt: skip
