# SPDX-License-Identifier: Apache-2.0
"""A real `kvmexporter serve` for tests, and what it serves, parsed."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from prometheus_client.parser import text_string_to_metric_families

COMMAND = str(Path(sys.executable).with_name("kvmexporter"))
_START_SECONDS = 30.0
_STOP_SECONDS = 15.0
_LISTENING = re.compile(r"msg=listening address=\S+?:(\d+)")

Labels = Mapping[str, str]


@dataclass(frozen=True)
class Scrape:
    """One scrape: every series, by name and labels."""

    text: str
    samples: tuple[tuple[str, dict[str, str], float], ...]

    def values(self, name: str, **labels: str) -> list[tuple[dict[str, str], float]]:
        """Series of that name that have these labels."""
        return [
            (own, value)
            for series, own, value in self.samples
            if series == name and labels.items() <= own.items()
        ]

    def sum(self, name: str, **labels: str) -> float:
        """Their sum; 0 if there are none."""
        return sum(value for _, value in self.values(name, **labels))


def parse(text: str) -> Scrape:
    """A scrape from the text format; raises ValueError where it does not hold to it."""
    samples = [
        (sample.name, dict(sample.labels), sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
    return Scrape(text, tuple(samples))


class Exporter:
    """`kvmexporter serve` on a free port of 127.0.0.1.

    Args:
        arguments: more flags.
        prefix: a command that runs it, e.g. with fewer privileges.
        environment: more variables.
        everything: whether it also serves what takes a flag, as tests that count to the event
            need it.
    """

    def __init__(
        self,
        *arguments: str,
        prefix: Sequence[str] = (),
        environment: Labels | None = None,
        everything: bool = True,
    ) -> None:
        self._prefix = tuple(prefix)
        self._arguments = (*(("--metrics.all",) if everything else ()), *arguments)
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the exporter
        self.port = 0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [
                *self._prefix,
                *(COMMAND, "serve", "--web.listen-address", "127.0.0.1:0"),
                *self._arguments,
            ],
            stderr=self._log,
            env=self._environment,
        )
        deadline = time.monotonic() + _START_SECONDS
        while not self.port:
            found = _LISTENING.search(self.log())
            if found:
                self.port = int(found[1])
            elif self._process.poll() is not None or time.monotonic() > deadline:
                log = self.log()
                self.stop()
                raise AssertionError(f"the exporter did not start:\n{log}")
            else:
                time.sleep(0.02)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            print(f"exporter's log:\n{self.log()}")
        self.stop()

    @property
    def pid(self) -> int:
        """Of the server."""
        assert self._process
        return self._process.pid

    def log(self) -> str:
        """What it has logged."""
        return os.pread(self._log.fileno(), 1 << 20, 0).decode()

    def get(self, path: str = "/metrics", **headers: str) -> tuple[int, dict[str, str], bytes]:
        """A request: status, headers (names in lower case), body."""
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", headers=names)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, _lower(answer.headers), answer.read()
        except urllib.error.HTTPError as err:
            with err:
                return err.code, _lower(err.headers), err.read()

    def scrape(self) -> Scrape:
        """The metrics now."""
        status, _, body = self.get()
        assert status == 200, body
        return parse(body.decode())

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send it a signal and wait; its exit code, negative if the signal killed it."""
        assert self._process
        self._process.send_signal(number)
        return self._process.wait(_STOP_SECONDS)

    def stop(self) -> None:
        """End it, whatever state it is in; safe to repeat."""
        if self._process and self._process.poll() is None:
            try:
                self.end()
            except subprocess.TimeoutExpired:
                self.end(signal.SIGKILL)
                raise
        self._log.close()


def _lower(headers: object) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}  # type: ignore[attr-defined] # either of two types of headers
