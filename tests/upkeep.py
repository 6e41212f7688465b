# SPDX-License-Identifier: Apache-2.0
"""What a running exporter takes of its host, and a Prometheus that scrapes it each second."""

import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

_EVERY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Upkeep:
    """Of the server and of the opener child together.

    Attributes:
        memory_kib: the server's anonymous memory; what of files it has mapped comes and goes.
        descriptors: open files.
        threads: of them.
        processes: the server and its children.
    """

    memory_kib: int
    descriptors: int
    threads: int
    processes: int

    @classmethod
    def of(cls, pid: int) -> "Upkeep":
        """What the exporter with this process id takes now."""
        server = psutil.Process(pid)
        status = Path(f"/proc/{pid}/status").read_text()
        found = re.search(r"^RssAnon:\s+(\d+) kB$", status, re.MULTILINE)
        assert found, status
        processes = [server]
        descriptors, threads = server.num_fds(), server.num_threads()
        for child in server.children(recursive=True):
            try:
                descriptors += child.num_fds()
                threads += child.num_threads()
            except psutil.NoSuchProcess:  # one that made a connection, and is done
                continue
            processes.append(child)
        return cls(int(found[1]), descriptors, threads, len(processes))


def open_files(pid: int) -> Counter[str]:
    """Kinds of files that the server and its children have open, for who looks for a leak."""
    kinds: Counter[str] = Counter()
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        for link in Path(f"/proc/{process.pid}/fd").iterdir():
            try:
                kinds[str(link.readlink()).split(":[")[0]] += 1
            except FileNotFoundError:
                continue
    return kinds


class Scraper:
    """Scrapes once a second, in a thread of its own, until it is closed.

    Args:
        scrape: returns what is served as text, or raises.
        vm: whose counters are watched.

    Attributes:
        seconds: how long each scrape took.
        troubles: scrapes that failed, and counters of the watched VM that went down.
    """

    def __init__(self, scrape: Callable[[], str], vm: str) -> None:
        self._scrape = scrape
        self._counters = re.compile(
            rf'^(kvm_vm_\w+_total{{[^}}]*vm="{vm}"[^}}]*}}) (\S+)$', re.MULTILINE
        )
        self._last: dict[str, float] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.seconds: list[float] = []
        self.troubles: list[str] = []

    def __enter__(self) -> "Scraper":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._end.wait(max(0.0, due - time.monotonic())):
            begun = time.monotonic()
            due = max(due + _EVERY_SECONDS, begun)
            try:
                text = self._scrape()
            except Exception as err:  # noqa: BLE001 - whatever it is, the test tells of it
                self.troubles.append(repr(err))
                continue
            self.seconds.append(time.monotonic() - begun)
            now = {key: float(value) for key, value in self._counters.findall(text)}
            self.troubles += [
                f"{key} went from {value:g} to {now.get(key)}"
                for key, value in self._last.items()
                if now.get(key, 0.0) < value
            ]
            self._last = now
