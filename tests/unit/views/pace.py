# SPDX-License-Identifier: Apache-2.0
"""Scrapes all along, and how slow the slowest was, whatever else the machine does meanwhile.

A second thread does nothing but wake up every 10 ms: by how much it was late at worst
within a scrape is the machine's doing, not the server's, and is taken off.
"""

import threading
import time
from http.client import HTTPConnection
from types import TracebackType
from typing import Self

_TICK_SECONDS = 0.01


class Pace:
    """Scrapes one server, one scrape after the other, each on a connection of its own.

    Attributes:
        scrapes: how many there were.
        slowest: seconds of the slowest, net of the machine's own lateness.
        failures: what went wrong instead of an answer.
    """

    def __init__(self, port: int, headers: dict[str, str] | None = None) -> None:
        self._port = port
        self._headers = headers or {}
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=one) for one in (self._scrape, self._tick)]
        self._lateness = 0.0
        self.scrapes = 0
        self.slowest = 0.0
        self.failures: list[str] = []

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _tick(self) -> None:
        while not self._ended.is_set():
            began = time.monotonic()
            time.sleep(_TICK_SECONDS)
            self._lateness += time.monotonic() - began - _TICK_SECONDS

    def _scrape(self) -> None:
        while not self._ended.is_set():
            began, late = time.monotonic(), self._lateness
            connection = HTTPConnection("127.0.0.1", self._port, timeout=10)
            try:
                connection.request("GET", "/metrics", headers=self._headers)
                answer = connection.getresponse()
                body = answer.read()
                if answer.status != 200 or not body.startswith(b"# HELP"):
                    self.failures.append(f"{answer.status}: {body[:100]!r}")
            except OSError as err:
                self.failures.append(repr(err))
            finally:
                connection.close()
            took = time.monotonic() - began - (self._lateness - late)
            self.slowest = max(self.slowest, took)
            self.scrapes += 1
            time.sleep(_TICK_SECONDS)
