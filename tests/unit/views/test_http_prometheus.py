# SPDX-License-Identifier: Apache-2.0
"""A real Prometheus scrapes over TLS, with a client certificate and a password."""

import json
import shutil
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest

from tests.unit.views.test_http_tls import HASH, MUTUAL, PASSWORD, served

WAIT_SECONDS = 60.0


def job(name: str, port: int, directory: Path, password: str, certificate: str) -> str:
    return f"""
  - job_name: {name}
    scheme: https
    tls_config:
      ca_file: {directory}/authority.pem
      cert_file: {directory}/{certificate}.pem
      key_file: {directory}/{certificate}.key
    basic_auth: {{username: prometheus, password: {password}}}
    static_configs: [{{targets: ["localhost:{port}"]}}]
"""


def ask(port: int, expression: str) -> dict[str, float]:
    """Job → value."""
    url = f"http://127.0.0.1:{port}/api/v1/query?query={expression}"
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            results = json.load(answer)["data"]["result"]
    except OSError:
        return {}
    return {one["metric"]["job"]: float(one["value"][1]) for one in results}


def test_a_real_prometheus(tmp_path: Path) -> None:
    """Right: up, also after the certificate was changed, and when a bad configuration comes.

    Wrong password or certificate: down.
    """
    if not (prometheus := shutil.which("prometheus")):
        pytest.fail("prometheus is missing: apt-get install prometheus")
    config = f"{MUTUAL}}}\nbasic_auth_users: {{prometheus: {HASH}}}"
    with served(tmp_path, config) as one, socket.socket() as probe:
        one.authority.sign("client")
        (tmp_path / "self").mkdir()
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=self",
             "-keyout", tmp_path / "self.key", "-out", tmp_path / "self.pem"],
            check=True, capture_output=True,
        )  # fmt: skip
        (tmp_path / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s}\nscrape_configs:"
            + job("right", one.port, tmp_path, PASSWORD, "client")
            + job("wrong-password", one.port, tmp_path, "wrong", "client")
            + job("wrong-certificate", one.port, tmp_path, PASSWORD, "self")
        )
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        with subprocess.Popen(
            [prometheus, f"--config.file={tmp_path}/prometheus.yml",
             f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{port}"],
            stderr=subprocess.DEVNULL,
        ) as server:  # fmt: skip
            try:
                expected = {"right": 1.0, "wrong-password": 0.0, "wrong-certificate": 0.0}
                wait(port, "up", expected)
                certificate, key = one.authority.sign("next")
                key.replace(tmp_path / "server.key")
                certificate.replace(tmp_path / "server.pem")
                one.wait("read again")
                # As many scrapes of each after the change.
                time.sleep(1)
                wait(
                    port, "count_over_time(up[6s])>=5", dict.fromkeys(expected, 6.0), jobs_only=True
                )
                assert ask(port, "min_over_time(up[6s])")["right"] == 1.0
                assert ask(port, "kvmexporter_build_info") == {"right": 1.0}
                one.path.write_text("tls_server_confg: {}")
                one.wait("kept out")
                time.sleep(3)
                assert ask(port, "min_over_time(up[3s])") == expected
            finally:
                server.terminate()


def wait(port: int, expression: str, expected: dict[str, float], jobs_only: bool = False) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        found = ask(port, expression)
        if found == expected or (jobs_only and found.keys() == expected.keys()):
            return
        assert time.monotonic() < deadline, found
        time.sleep(0.5)
