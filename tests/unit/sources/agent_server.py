# SPDX-License-Identifier: Apache-2.0
"""A guest agent behind a Unix socket, that does what an agent does or what a hostile guest may.

It serves in a thread of its own, one client after the other, as the socket of a QEMU does.
"""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from kvmexporter.units import NS_PER_SECOND

YEAR_NS = 365 * 86_400 * NS_PER_SECOND

Answer = Callable[[dict[str, Any]], bytes | None]
"""A request → what is sent back; None: nothing, ever."""


def line(value: object) -> bytes:
    return json.dumps({"return": value}).encode() + b"\n"


def agent(offset_ns: int = 0, delay_seconds: float = 0.0) -> Answer:
    """An agent whose clock is this far ahead of the host's."""

    def answer(request: dict[str, Any]) -> bytes:
        if request["execute"] == "guest-sync-delimited":
            return b"\xff" + line(request["arguments"]["id"])
        assert request == {"execute": "guest-get-time"}
        time.sleep(delay_seconds)
        return line(time.time_ns() + offset_ns)

    return answer


def instead(at: str, reply: bytes | None) -> Answer:
    """An agent that answers one command with this."""

    def answer(request: dict[str, Any]) -> bytes | None:
        return reply if request["execute"] == at else agent()(request)

    return answer


class AgentServer:
    """One server on one socket; a context manager.

    Args:
        path: of the socket.
        answer: how it answers.

    Attributes:
        connections: how many came.
        asked: the commands, in order.
    """

    def __init__(self, path: Path, answer: Answer) -> None:
        self.connections = 0
        self.asked: list[str] = []
        self._answer = answer
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen(8)
        self._ending = False
        self._client: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending = True
        for one in (self._socket, self._client):
            if one:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._socket.close()
        assert not self._thread.is_alive()

    def _serve(self) -> None:
        while not self._ending:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            self._client = client
            self.connections += 1
            with client, contextlib.suppress(ConnectionError), client.makefile("rb") as requests:
                for request in requests:
                    self._one(client, json.loads(request.lstrip(b"\xff")))

    def _one(self, client: socket.socket, request: dict[str, Any]) -> None:
        self.asked.append(request["execute"])
        reply = self._answer(request)
        if reply == b"":
            client.shutdown(socket.SHUT_RDWR)
        elif reply is not None:
            client.sendall(reply)
