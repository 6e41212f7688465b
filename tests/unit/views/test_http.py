# SPDX-License-Identifier: Apache-2.0
"""The endpoint: real requests to a real server."""

import gzip
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.unit.procfs_tree import ProcfsTree

ROOT = Path(__file__).parents[3]
TIMEOUT_SECONDS = 20


@contextmanager
def running(tree: ProcfsTree, *arguments: str) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """A server: its port and its process."""
    command = [sys.executable, "-m", "tests.unit.views.endpoint", str(tree.root), *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as server:
        try:
            assert server.stdout
            yield int(server.stdout.readline()), server
        finally:
            server.kill()


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    tree = ProcfsTree(tmp_path_factory.mktemp("proc"))
    tree.process(10, ["/usr/bin/qemu-system-x86_64", "-name", "<b>web"])
    with running(tree, "/metrics") as (number, _):
        yield number


def ask(
    port: int, path: str, method: str = "GET", content: bytes | None = None, **headers: str
) -> tuple[HTTPResponse, bytes]:
    """One request."""
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body=content, headers=named)
        answer = connection.getresponse()
        return answer, answer.read()
    finally:
        connection.close()


def test_metrics(port: int) -> None:
    """Text for who asks for nothing else, fresh at each request."""
    answer, body = ask(port, "/metrics")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["Vary"] == "Accept, Accept-Encoding"
    assert "Content-Encoding" not in answer.headers
    families = {family.name: family for family in parse_text(body.decode())}
    assert families["kvm_vm_info"].samples[0].labels["vm"] == "<b>web"
    assert "kvmexporter_collector_success" in families


def test_openmetrics(port: int) -> None:
    """For who accepts it."""
    answer, body = ask(port, "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    families = parse_openmetrics(body.decode())  # type: ignore[no-untyped-call] # no hints
    assert "kvm_vm_info" in {family.name for family in families}


@pytest.mark.parametrize("accepted", ["gzip", "deflate, gzip;q=1.0, *;q=0.5"])
def test_gzip(port: int, accepted: str) -> None:
    """For who accepts it, the same metrics."""
    answer, body = ask(port, "/metrics", Accept_Encoding=accepted)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert b"kvm_vm_info{" in gzip.decompress(body)
    assert int(answer.headers["Content-Length"]) == len(body)


def test_no_gzip(port: int) -> None:
    """For who does not."""
    answer, body = ask(port, "/metrics", Accept_Encoding="deflate, br")
    assert "Content-Encoding" not in answer.headers
    assert body.startswith(b"# HELP")


def test_the_page(port: int) -> None:
    """With a policy that lets nothing run or be fetched."""
    answer, body = ask(port, "/")
    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert b'<a href="/metrics">' in body
    assert b"<b>web" not in body


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/-/healthy", 200),
        ("GET", "/-/ready", 200),
        ("HEAD", "/metrics", 200),
        ("HEAD", "/", 200),
        ("HEAD", "/-/healthy", 200),
        ("GET", "/metrics?name[]=x", 200),
        ("GET", "/nowhere", 404),
        ("HEAD", "/nowhere", 404),
        ("GET", "/metrics/", 404),
        ("GET", "/../../etc/passwd", 404),
        ("GET", "/%2e%2e/etc/passwd", 404),
        ("GET", "/<script>", 404),
        ("POST", "/metrics", 405),
        ("DELETE", "/", 405),
    ],
)
def test_status(port: int, method: str, path: str, status: int) -> None:
    """Of every kind of request; nothing is given away, nothing is guessed by a browser."""
    answer, body = ask(port, path, method)
    assert answer.status == status
    assert "Server" not in answer.headers
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    if status >= 400:
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    if status >= 400 and method != "HEAD":
        assert re.fullmatch(rb"\d{3} [A-Z][A-Za-z ]+\n", body)
    if method == "HEAD":
        assert body == b""


def test_head_is_get_without_its_body(port: int) -> None:
    """The length is that of the body that there would be."""
    got, body = ask(port, "/-/healthy")
    head, nothing = ask(port, "/-/healthy", "HEAD")
    assert nothing == b""
    assert head.headers["Content-Length"] == got.headers["Content-Length"] == str(len(body))


@pytest.mark.parametrize(
    "request_text",
    [
        b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 100,
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"\0\xff garbage\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"\r\n" * 1000,
        b"",
    ],
)
def test_what_is_no_request_harms_nobody(port: int, request_text: bytes) -> None:
    """It is refused or dropped, and the next client is answered."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS) as client:
        try:
            client.sendall(request_text)
            client.shutdown(socket.SHUT_WR)
            answer = client.recv(1 << 16)
        except OSError:  # it hung up before, or while, we spoke
            answer = b""
    assert b"200 OK" not in answer
    assert b"Traceback" not in answer
    assert ask(port, "/metrics")[0].status == 200


def test_a_slow_client_holds_up_nobody(port: int) -> None:
    """Others are answered while it has not finished its request."""
    with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS) as slow:
        slow.sendall(b"GET /metrics HTTP/1.1\r\nHost")
        for _ in range(3):
            assert ask(port, "/metrics")[0].status == 200
        slow.sendall(b": x\r\nConnection: close\r\n\r\n")
        assert slow.recv(1 << 16).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_connection_serves_many_requests(port: int) -> None:
    """As Prometheus keeps it."""
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        for _ in range(5):
            connection.request("GET", "/metrics")
            answer = connection.getresponse()
            assert (answer.status, answer.read()[:6]) == (200, b"# HELP")
    finally:
        connection.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_end_it(tree: ProcfsTree, number: signal.Signals) -> None:
    """Cleanly, with a connection that is idle still open."""
    with running(tree, "/") as (port, server):
        connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
        connection.request("GET", "/")
        assert connection.getresponse().read().startswith(b"# HELP")
        server.send_signal(number)
        assert server.wait(TIMEOUT_SECONDS) == 0
        connection.close()


def test_metrics_at_the_root_and_sampling_that_fails(tree: ProcfsTree) -> None:
    """Healthy is not ready; an error tells nothing of the inside."""
    with running(tree, "/", "--broken") as (port, _):
        assert ask(port, "/-/healthy")[0].status == 200
        for path in ("/", "/-/ready"):
            answer, body = ask(port, path)
            assert (answer.status, body) == (500, b"500 Internal Server Error\n")


@pytest.mark.parametrize("path", ["/a+b", "/a(b)"])
def test_a_path_means_itself(tree: ProcfsTree, path: str) -> None:
    """Whatever characters --web.telemetry-path has."""
    with running(tree, path) as (port, _):
        assert ask(port, path)[0].status == 200


def test_a_path_matches_nothing_else(tree: ProcfsTree) -> None:
    """A dot is a dot."""
    with running(tree, "/v1/numbers") as (port, _):
        assert ask(port, "/v1/numbers")[0].status == 200
        assert ask(port, "/metrics")[0].status == 404
        assert b'href="/v1/numbers"' in ask(port, "/")[1]
