# SPDX-License-Identifier: Apache-2.0
"""What users run beside or instead: what it takes, and what it does not tell."""

import socket
import statistics
import subprocess
import time
import urllib.request
from dataclasses import dataclass

from tests.bench.losses import INTERVAL_SECONDS
from tests.bench.processes import cpu_seconds, resident_bytes

_SCRAPES = 5
_IDLE_SECONDS = 5.0

MISSES = "everything of VMs: it tells the host's clock and processors alone"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An exporter beside us: what it takes; of a core, with a scrape every 15 s."""

    what: str
    start_seconds: float
    resident_bytes: int
    share: float
    trouble: str = ""


def node_exporter() -> Neighbour:
    """Debian's prometheus-node-exporter with its defaults, scraped a few times."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    command = ["prometheus-node-exporter", f"--web.listen-address=127.0.0.1:{port}"]
    began = time.monotonic()
    try:
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    except FileNotFoundError:
        return Neighbour("node_exporter", 0, 0, 0, "it is not installed")
    try:
        while not _scraped(port):
            time.sleep(0.02)
        started = time.monotonic() - began
        used = []
        for _ in range(_SCRAPES):
            before = cpu_seconds(process.pid)
            _scraped(port)
            used.append(cpu_seconds(process.pid) - before)
        before, began = cpu_seconds(process.pid), time.monotonic()
        time.sleep(_IDLE_SECONDS)
        share = (cpu_seconds(process.pid) - before) / (time.monotonic() - began)
        share += statistics.median(used) / INTERVAL_SECONDS
        return Neighbour("node_exporter", started, resident_bytes(process.pid), share)
    finally:
        process.terminate()
        process.wait()


def _scraped(port: int) -> bool:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/metrics", headers={"Accept-Encoding": "gzip"}
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return bool(answer.read())
    except OSError:
        return False
