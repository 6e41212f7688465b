# SPDX-License-Identifier: Apache-2.0
"""How long it takes from `exec` to the first good scrape, and what the loader takes for it."""

import re
import statistics
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.bench.processes import cpu_seconds, peak_resident_bytes
from tests.kvm.exporter import Exporter

_DROP_PAGE_CACHE = "1"
_LOADED = re.compile(r"BPF programs attached.* seconds=([\d.]+)")


@dataclass(frozen=True, slots=True)
class Start:
    """The start of an exporter.

    Attributes:
        cold_seconds: with nothing of it in the page cache, one start.
        warm_seconds: median of the starts after that.
        loader_bytes: the most memory that the loader child occupied.
        loader_gone: whether it had ended by the first scrape, each time.
        loader_seconds: median of what the loader said it took, of a warm start.
        spread_seconds: half the distance between the quickest and the slowest warm start.
        cpu_seconds: processor time of the server by the first scrape, median.
    """

    cold_seconds: float
    warm_seconds: float
    loader_bytes: int
    loader_gone: bool
    loader_seconds: float
    spread_seconds: float
    cpu_seconds: float


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


def measure(starts: int) -> Start:
    """Start it cold once, and then so many times."""
    Path("/proc/sys/vm/drop_caches").write_text(_DROP_PAGE_CACHE)
    seconds, peaks, gone, loading, used = [], [], [], [], []
    for _ in range(starts + 1):
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
    warm = seconds[1:]
    return Start(
        seconds[0], statistics.median(warm), max(peaks), all(gone), statistics.median(loading[1:]),
        (max(warm) - min(warm)) / 2, statistics.median(used[1:]),
    )  # fmt: skip
