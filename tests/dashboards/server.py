# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus with the shipped configuration and rules, in a hurry if need be."""

import json
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import yaml

from tests.dashboards.hurried import Hurry, shipped

_READY_SECONDS = 60.0


class PrometheusError(Exception):
    """Prometheus did not start, or refused a query."""


class Api:
    """What a Prometheus that runs is asked.

    Args:
        url: where it listens.
        hurry: how much faster than in production windows and delays go by there.
    """

    def __init__(self, url: str, hurry: Hurry | None = None) -> None:
        self.url = url
        self.hurry = hurry or Hurry()

    def _ask(self, path: str, **parameters: str) -> Any:
        body = urllib.parse.urlencode(parameters).encode()
        request = urllib.request.Request(f"{self.url}/api/v1/{path}", data=body or None)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as err:
            raise PrometheusError(f"{parameters}: {err.read().decode()[:500]}") from err

    def query(self, promql: str) -> list[dict[str, Any]]:
        """An instant query's series.

        Raises:
            PrometheusError: the query is wrong.
        """
        found: list[dict[str, Any]] = self._ask("query", query=promql)["result"]
        return found

    def query_range(
        self, promql: str, start: float, end: float, step: float
    ) -> list[dict[str, Any]]:
        """A range query's series.

        Raises:
            PrometheusError: the query is wrong.
        """
        found: list[dict[str, Any]] = self._ask(
            "query_range", query=promql, start=f"{start}", end=f"{end}", step=f"{step}"
        )["result"]
        return found

    def alerts(self) -> list[dict[str, Any]]:
        """The alerts that fire now, with labels and annotations."""
        found: list[dict[str, Any]] = self._ask("alerts")["alerts"]
        return [alert for alert in found if alert["state"] == "firing"]


class Prometheus(Api):
    """A server that scrapes exporters and evaluates the rules.

    Args:
        directory: for its configuration, its data and its log.
        targets: instance → host:port of the exporters.
        port: where it listens on the loopback address.
        hurry: how much faster than in production windows and delays go by.
        program: which Prometheus; the system's by default.
    """

    def __init__(
        self,
        directory: Path,
        targets: Mapping[str, str],
        port: int = 19190,
        hurry: Hurry | None = None,
        program: str = "prometheus",
    ) -> None:
        super().__init__(f"http://127.0.0.1:{port}", hurry)
        self.directory = directory
        self._port = port
        self._program = program
        configuration = self.hurry.configuration(shipped("prometheus.yml"), targets)
        (directory / "alerts/prometheus").mkdir(parents=True)
        self._write("prometheus.yml", configuration)
        for name in ("alerts.rules.yml", "recording.rules.yml"):
            path = f"alerts/prometheus/{name}"
            self._write(path, self.hurry.rules(shipped(path)))
        self._process: subprocess.Popen[bytes] | None = None

    def _write(self, name: str, document: dict[str, Any]) -> None:
        (self.directory / name).write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")

    def __enter__(self) -> Self:
        program = shutil.which(self._program)
        if not program:
            raise PrometheusError(f"{self._program} is missing: apt-get install prometheus")
        with (self.directory / "prometheus.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    program,
                    f"--config.file={self.directory}/prometheus.yml",
                    f"--storage.tsdb.path={self.directory}/data",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                stderr=log,
            )
        deadline = time.monotonic() + _READY_SECONDS
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.__exit__()
                raise PrometheusError(self.log())
            time.sleep(0.2)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait()

    def log(self) -> str:
        """What it wrote."""
        return (self.directory / "prometheus.log").read_text("utf-8")

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False
