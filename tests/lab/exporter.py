# SPDX-License-Identifier: Apache-2.0
"""The exporter under test: started as an administrator starts it, asked as Prometheus asks it."""

import http.client
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

# Attaching many probes takes 4 to 10 s under emulation.
_READY_SECONDS = 120.0
# What a connection says while the server is not listening yet, or is no more.
_NOT_THERE = (urllib.error.URLError, ConnectionError, TimeoutError, http.client.HTTPException)


class ExporterError(Exception):
    """The exporter did not start, or did not answer."""


class Scrape:
    """One answer to `GET /metrics`, parsed.

    Names are those of the samples ("kvm_vm_exits_total"), labels a subset to match.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.families: Mapping[str, Metric] = {
            family.name: family for family in text_string_to_metric_families(text)
        }

    def samples(self, name: str, **labels: str) -> list[Sample]:
        """Return every sample of that name whose labels include these."""
        return [
            sample
            for family in self.families.values()
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        ]

    def value(self, name: str, **labels: str) -> float:
        """Return the value of the one sample that matches.

        Raises:
            LookupError: none or several match; the message lists what the name has.
        """
        found = self.samples(name, **labels)
        if len(found) != 1:
            there = "\n".join(f"  {s.labels} {s.value}" for s in self.samples(name))
            raise LookupError(f"{len(found)} samples are {name}{labels}; there are:\n{there}")
        return float(found[0].value)

    def total(self, name: str, **labels: str) -> float:
        """Return the sum of the samples that match; 0 if there are none."""
        return float(sum(sample.value for sample in self.samples(name, **labels)))

    def by(self, label: str, name: str, **labels: str) -> dict[str, float]:
        """Return the sums of the samples that match, by the value of a label."""
        sums: dict[str, float] = {}
        for sample in self.samples(name, **labels):
            key = sample.labels.get(label, "")
            sums[key] = sums.get(key, 0.0) + sample.value
        return sums


class Exporter:
    """A `kvmexporter serve` process.

    Args:
        arguments: more flags for `serve`.
        port: where it listens, on the loopback address.
        environment: of the process; the test's own by default.
        everything: whether it also serves what takes a flag, as tests that count to the event
            need it.
    """

    def __init__(
        self,
        *arguments: str,
        port: int = 19177,
        environment: Mapping[str, str] | None = None,
        everything: bool = True,
    ) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="lab-exporter-", dir="/run"))
        self.url = f"http://127.0.0.1:{port}"
        # Beside the interpreter that runs the tests: the project's own virtual environment.
        program = Path(sys.executable).with_name("kvmexporter")
        self.command = [
            str(program), "serve", "--web.listen-address", f"127.0.0.1:{port}",
            *(("--metrics.all",) if everything else ()), *arguments,
        ]  # fmt: skip
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, timeout: float = _READY_SECONDS) -> "Exporter":
        """Start it and wait until it says that it is ready; return itself."""
        with (self.directory / "exporter.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=self._environment,
            )  # fmt: skip
        deadline = time.monotonic() + timeout
        while not self._ready():
            if self._process.poll() is not None:
                raise ExporterError(
                    f"the exporter ended with {self._process.returncode}:\n{self.log()}"
                )
            if time.monotonic() > deadline:
                raise ExporterError(f"not ready after {timeout} s:\n{self.log()}")
            time.sleep(0.2)
        return self

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=10) as answer:
                return bool(answer.status == 200)
        except _NOT_THERE:
            return False

    def get(self, path: str, timeout: float = 30, headers: Mapping[str, str] = {}) -> str:
        """Return the body of `GET path`; raise ExporterError for any answer but 200."""
        request = urllib.request.Request(self.url + path, headers=dict(headers))
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                body: bytes = answer.read()
                return body.decode()
        except (*_NOT_THERE, TimeoutError) as err:
            raise ExporterError(f"GET {path}: {err}; its log:\n{self.log()[-2000:]}") from err

    def scrape(self, timeout: float = 30) -> Scrape:
        """Scrape `/metrics` once; the text is kept as `last-scrape.txt` until the next one."""
        text = self.get("/metrics", timeout, {"Accept": "text/plain"})
        (self.directory / "last-scrape.txt").write_text(text)
        return Scrape(text)

    def wait_for(self, name: str, timeout: float = 60, **labels: str) -> Scrape:
        """Scrape until a sample matches and return that scrape."""
        deadline = time.monotonic() + timeout
        while not (scrape := self.scrape()).samples(name, **labels):
            if time.monotonic() > deadline:
                raise ExporterError(f"no {name}{labels} within {timeout} s; log:\n{self.log()}")
            time.sleep(0.5)
        return scrape

    @property
    def pid(self) -> int:
        """The server's process id."""
        if self._process is None:
            raise ExporterError("the exporter is not started")
        return self._process.pid

    def log(self) -> str:
        """Return everything it wrote to its standard streams."""
        path = self.directory / "exporter.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self, timeout: float = 30) -> int:
        """End it with SIGTERM and return its exit code."""
        if self._process is None:
            raise ExporterError("the exporter is not started")
        self._process.terminate()
        try:
            return self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise ExporterError(f"SIGTERM did not end it in {timeout} s:\n{self.log()}") from None

    def kill(self) -> None:
        """End it with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def save_logs(self, target: Path) -> None:
        """Copy the log and the last scrape to a directory."""
        target.mkdir(parents=True, exist_ok=True)
        for path in self.directory.iterdir():
            shutil.copyfile(path, target / path.name)

    def close(self) -> None:
        """End it if it still runs and remove its files."""
        if self._process is not None and self._process.poll() is None:
            try:
                self.stop()
            finally:
                shutil.rmtree(self.directory, ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)


def run_command(*arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[Any]:
    """Run another `kvmexporter` command (`dump`, `doctor`) and return how it went."""
    program = Path(sys.executable).with_name("kvmexporter")
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, timeout=timeout, check=False
    )
