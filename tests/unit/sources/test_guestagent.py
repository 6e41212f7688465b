# SPDX-License-Identifier: Apache-2.0
"""Conversations with guests' agents: honest ones, and ones that are not."""

import asyncio
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from kvmexporter.model.vm_clocks import AgentTime
from kvmexporter.sources.guestagent import MAX_REPLY_BYTES, AgentError, AgentSockets
from tests.unit.sources.agent_server import YEAR_NS, AgentServer, Answer, agent, instead, line

SECOND = 1_000_000_000


def ask(path: Path, answer: Answer, deadline: float = 10.0) -> AgentTime:
    with AgentServer(path, answer):
        return asyncio.run(AgentSockets().ask_time(path, deadline))


@pytest.mark.parametrize("offset", [0, 5 * SECOND, -5 * SECOND, YEAR_NS, -YEAR_NS])
def test_the_offset_lies_within_its_uncertainty(tmp_path: Path, offset: int) -> None:
    """However wrong the guest's clock is."""
    told = ask(tmp_path / "agent", agent(offset))
    assert abs(told.offset_ns - offset) <= told.uncertainty_ns
    assert 0 < told.uncertainty_ns < SECOND


def test_a_slow_agent_is_a_less_certain_one(tmp_path: Path) -> None:
    """The uncertainty is half of what asking took."""
    told = ask(tmp_path / "agent", agent(0, delay_seconds=0.1))
    assert told.uncertainty_ns >= SECOND // 20
    assert abs(told.offset_ns) <= told.uncertainty_ns


def test_what_is_asked(tmp_path: Path) -> None:
    """Four messages in one connection."""
    with AgentServer(tmp_path / "agent", agent()) as server:
        asyncio.run(AgentSockets().ask_time(tmp_path / "agent", 10.0))
    assert server.asked == ["guest-sync-delimited", *["guest-get-time"] * 3]
    assert server.connections == 1


def test_the_best_of_three(tmp_path: Path) -> None:
    """One slow answer costs no accuracy."""
    delays = iter([0.3, 0.0, 0.3])

    def answer(request: dict[str, Any]) -> bytes | None:
        slow = request["execute"] == "guest-get-time"
        return agent(0, next(delays) if slow else 0.0)(request)

    assert ask(tmp_path / "agent", answer).uncertainty_ns < SECOND // 10


def test_leftovers_are_passed_over(tmp_path: Path) -> None:
    """Answers to somebody else's questions are not taken for ours."""

    def answer(request: dict[str, Any]) -> bytes | None:
        honest = agent()(request) or b""
        if request["execute"] == "guest-get-time":
            return honest
        return line(5) + b"\xff" + line(17) + line({"x": 1}) + honest

    assert abs(ask(tmp_path / "agent", answer).offset_ns) < SECOND


@pytest.mark.parametrize(
    ("at", "reply", "message"),
    [
        ("guest-sync-delimited", b"", "hung up"),
        ("guest-sync-delimited", b"\xff{", "no answer in"),
        ("guest-sync-delimited", b"\xff{}\n", "KeyError"),
        ("guest-sync-delimited", b'\xff{"error":{"class":"GenericError"}}\n', "KeyError"),
        ("guest-sync-delimited", b"x" * (MAX_REPLY_BYTES + 1), "bytes instead of an answer"),
        ("guest-sync-delimited", (b"\xff" + line(3)) * 8000, "bytes of others' answers"),
        ("guest-get-time", b"", "hung up"),
        ("guest-get-time", b"x" * (MAX_REPLY_BYTES + 1), "not an agent's"),
        ("guest-get-time", b"[" * 60_000 + b"\n", "not an agent's"),
        ("guest-get-time", b"[]\n", "not an agent's"),
        ("guest-get-time", line(None), "not an agent's"),
        ("guest-get-time", line("1"), "not an agent's"),
        ("guest-get-time", line(True), "not an agent's"),
        ("guest-get-time", line(1.5), "not an agent's"),
        ("guest-get-time", line(-1), "not an agent's"),
        ("guest-get-time", line(1 << 63), "not an agent's"),
        ("guest-get-time", b'{"return": ' + b"9" * 5000 + b"}\n", "not an agent's"),
    ],
)
def test_a_hostile_agent(tmp_path: Path, at: str, reply: bytes, message: str) -> None:
    """Whatever it says, the exporter says in one line what that was."""
    with pytest.raises(AgentError, match=message) as raised:
        ask(tmp_path / "agent", instead(at, reply), deadline=2.0)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("at", ["guest-sync-delimited", "guest-get-time"])
def test_an_agent_that_hangs(tmp_path: Path, at: str) -> None:
    """The conversation ends at its deadline."""
    begun = time.monotonic()
    with pytest.raises(AgentError, match="does an agent run"):
        ask(tmp_path / "agent", instead(at, None), deadline=0.2)
    assert time.monotonic() - begun < 5


def test_nobody_there(tmp_path: Path) -> None:
    """No socket, and one that nobody listens on."""
    path = tmp_path / "agent"
    with pytest.raises(AgentError, match="No such file"):
        asyncio.run(AgentSockets().ask_time(path, 1.0))
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))
    with pytest.raises(AgentError, match="refused"):
        asyncio.run(AgentSockets().ask_time(path, 1.0))


def test_the_hosts_clock_is_set_meanwhile(tmp_path: Path) -> None:
    """The round trip is measured by a clock that nobody sets."""
    times = iter([1000 * SECOND, 900 * SECOND, 800 * SECOND])
    sockets = AgentSockets(lambda: next(times))
    with AgentServer(tmp_path / "agent", agent()):
        told = asyncio.run(sockets.ask_time(tmp_path / "agent", 10.0))
    assert 0 < told.uncertainty_ns < SECOND


def test_libvirts_own_is_left_alone(tmp_path: Path) -> None:
    """Also where a link leads to it."""
    directory = tmp_path / "libvirt" / "qemu"
    directory.mkdir(parents=True)
    (tmp_path / "link").symlink_to(directory / "agent")
    with (
        AgentServer(directory / "agent", agent()) as server,
        pytest.raises(AgentError, match="libvirt's own"),
    ):
        asyncio.run(AgentSockets().ask_time(tmp_path / "link", 10.0))
    assert server.connections == 0


def test_a_path_longer_than_an_address(tmp_path: Path) -> None:
    """An address has room for 107 bytes; a VMM's own file system may be deeper."""
    deep = tmp_path / ("d" * 120)
    deep.mkdir()
    with AgentServer(tmp_path / "agent", agent()):
        (tmp_path / "agent").rename(deep / "agent")
        asyncio.run(AgentSockets().ask_time(deep / "agent", 10.0))


def test_a_connection_that_somebody_else_made(tmp_path: Path) -> None:
    """As a path, and it is closed."""
    with AgentServer(tmp_path / "agent", agent(5 * SECOND)):
        made = socket.socket(socket.AF_UNIX)
        made.connect(str(tmp_path / "agent"))
        told = asyncio.run(AgentSockets().ask_time(made, 10.0))
    assert abs(told.offset_ns - 5 * SECOND) <= told.uncertainty_ns
    assert made.fileno() == -1
