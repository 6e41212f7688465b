# SPDX-License-Identifier: Apache-2.0
"""A server under abuse, with a scrape measured all along."""

import os
import random
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import psutil
import pytest

from kvmexporter.views.connections import MAX_CONNECTIONS
from tests.unit.procfs_tree import ProcfsTree
from tests.unit.views.pace import Pace
from tests.unit.views.test_http import running

SLOWEST_SECONDS = 1.0
MIB = 1 << 20
GROWTH_BYTES = 12 * MIB
FUZZ_SECONDS = float(os.environ.get("FUZZ_SECONDS", "3"))
VMS = 40


class Server:
    """A server, and how much memory it takes."""

    def __init__(self, port: int, pid: int) -> None:
        self.port = port
        self.process = psutil.Process(pid)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def resident(self) -> int:
        resident: int = self.process.memory_info().rss
        return resident


@pytest.fixture
def server(tree: ProcfsTree) -> Iterator[Server]:
    for number in range(VMS):
        tree.process(100 + number, ["/usr/bin/qemu-system-x86_64", "-name", f"vm{number}"])
    with running(tree, "/metrics") as (port, process):
        with Pace(port):  # it is warm before it is measured
            time.sleep(0.5)
        yield Server(port, process.pid)
        assert process.poll() is None


def abused(server: Server, abuse: Callable[[], object]) -> None:
    """Abuse it while it is scraped: no scrape fails or is slow, and memory stays flat."""
    before = server.resident()
    with Pace(server.port) as pace:
        time.sleep(0.2)
        abuse()
        time.sleep(0.2)
    assert pace.failures == []
    assert pace.scrapes > 3
    assert pace.slowest < SLOWEST_SECONDS
    assert server.resident() - before < GROWTH_BYTES


def test_500_that_say_nothing(server: Server) -> None:
    """More than there are places: those who ask still find one."""

    def abuse() -> None:
        with ExitStack() as open_ones:
            for _ in range(500):
                open_ones.enter_context(server.connect())
            time.sleep(1.0)
            assert len(server.process.net_connections()) <= MAX_CONNECTIONS + 1

    abused(server, abuse)


def test_slow_headers(server: Server) -> None:
    """A byte now and then, on many connections; each is ended when its time is over."""

    def abuse() -> None:
        with ExitStack() as open_ones:
            slow = [open_ones.enter_context(server.connect()) for _ in range(100)]
            for one in slow:
                one.sendall(b"GET /metrics HTTP/1.1\r\nX: ")
            began = time.monotonic()
            while slow and time.monotonic() - began < 20:
                time.sleep(0.5)
                for one in list(slow):
                    try:
                        one.send(b"x")
                    except OSError:
                        slow.remove(one)
            assert slow == []

    abused(server, abuse)


def test_headers_of_10_mib(server: Server) -> None:
    """Nobody keeps them: the connection ends at the limit."""

    def abuse() -> None:
        for shape in (b"X: " + b"y" * (10 * MIB), b"X: y\r\n" * (2 * MIB)):
            for _ in range(5):
                with server.connect() as one:
                    try:
                        one.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + shape + b"\r\n\r\n")
                        answer = one.recv(1 << 16)
                    except OSError:
                        continue
                    assert b"200 OK" not in answer

    abused(server, abuse)


def test_pipelined_garbage(server: Server) -> None:
    """After a good request, on the same connection: the good one is answered."""

    def abuse() -> None:
        for _ in range(20):
            with server.connect() as one:
                garbage = b"\x16\x03\x01\xff GARBAGE / HTTP/0.1\r\n: :\r\n\r\n" * 1000
                try:
                    one.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n" + garbage)
                    one.recv(1 << 16)
                except OSError:
                    continue

    abused(server, abuse)


def test_pipelined_scrapes(server: Server) -> None:
    """A thousand requests at once are answered one after the other, and only when read."""

    def abuse() -> None:
        with server.connect() as one:
            one.settimeout(0.5)
            with suppress(TimeoutError):
                one.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
            time.sleep(2.0)

    abused(server, abuse)


def test_scrapes_of_64_at_once(server: Server) -> None:
    """They share samplings, so none waits for 63 others."""

    def abuse() -> None:
        with ExitStack() as paces:
            crowd = [paces.enter_context(Pace(server.port)) for _ in range(64)]
            time.sleep(3.0)
        assert [one.failures for one in crowd] == [[]] * 64
        assert sum(one.scrapes for one in crowd) > 64

    abused(server, abuse)


def test_clients_that_stop_reading(server: Server) -> None:
    """They ask for all they can and read nothing; what is kept for them has an end."""

    def abuse() -> None:
        with ExitStack() as open_ones:
            for _ in range(200):
                one = open_ones.enter_context(socket.socket())
                one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
                one.connect(("127.0.0.1", server.port))
                one.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
            time.sleep(2.0)

    abused(server, abuse)


def test_random_bytes(server: Server) -> None:
    """Good requests with bytes changed, cut, doubled and split: FUZZ_SECONDS of them."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    good = (
        b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n",
        b"HEAD / HTTP/1.0\r\nAccept: text/html\r\nAuthorization: Basic eDp5\r\n\r\n",
        b"POST /-/ready HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"GET http://x/%ff?a[]=b HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    )

    def mutated() -> bytes:
        data = bytearray(chance.choice(good))
        for _ in range(chance.randrange(1, 8)):
            at = chance.randrange(len(data) + 1)
            match chance.randrange(4):
                case 0:
                    data[at : at + 1] = chance.randbytes(chance.randrange(1, 4))
                case 1:
                    del data[at : at + chance.randrange(10)]
                case 2:
                    data[at:at] = data[: chance.randrange(len(data) + 1)]
                case _:
                    data[at:at] = chance.choice((b"\r\n", b"\0", b":", b" ", b"\xff", b"9" * 30))
        return bytes(data)

    def abuse() -> None:
        ended = time.monotonic() + FUZZ_SECONDS
        sent = 0
        while time.monotonic() < ended:
            with server.connect() as one:
                one.settimeout(0.05)
                data = mutated()
                cut = chance.randrange(len(data) + 1)
                try:
                    one.sendall(data[:cut])
                    one.sendall(data[cut:])
                    answer = one.recv(1 << 16)
                except OSError:
                    answer = b""
                assert b"Traceback" not in answer
                assert b" 500 " not in answer.partition(b"\r\n")[0]
                sent += 1
        assert sent > 5

    abused(server, abuse)
