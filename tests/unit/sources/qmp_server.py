# SPDX-License-Identifier: Apache-2.0
"""A QMP server that gives the answers of a recording, or does what a hostile VMM may do.

It serves in a thread of its own, anyone who connects, and keeps count of them:

    with QmpServer(path, load("7.2", "pc")) as server:
        ...
    assert server.most_at_once == 1
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from kvmexporter.sources.qemu import QemuFacts, Visitor
from tests.unit.model.record import command_key
from tests.unit.model.recorded import Recording

_NOT_FOUND = {"error": {"class": "GenericError", "desc": "not in the recording"}}


class HangError(Exception):
    """Raised by an answer: never go on, but stay."""


class LeaveError(Exception):
    """Raised by an answer: close the connection."""


Answer = Callable[[str, bytes], Iterable[bytes]]
"""(`command_key`, the honest line) → what is sent instead, piece by piece."""


def visit(path: Path, deadline_seconds: float = 10.0) -> QemuFacts:
    """Ask the server on a socket everything, as the exporter does."""
    return asyncio.run(Visitor().visit(path, deadline_seconds))


def replayed(path: Path, recording: Recording) -> QemuFacts:
    """What a visit to a recorded QEMU finds; one connection, which is gone afterwards."""
    with QmpServer(path, recording) as server:
        facts = visit(path)
    assert server.most_at_once == server.connections == 1
    assert server.now_connected == 0
    return facts


def honest(_key: str, line: bytes) -> Iterable[bytes]:
    """Send what was recorded."""
    yield line


def with_value(line: bytes, value: object) -> bytes:
    """An answer to the same command with another value."""
    return _line({"return": value, "id": json.loads(line)["id"]})


def instead(key: str, reply: object) -> Answer:
    """Give one command another value; the others are answered honestly."""

    def answer(asked: str, line: bytes) -> Iterable[bytes]:
        yield with_value(line, reply) if asked == key else line

    return answer


class QmpServer:
    """One server on one socket; a context manager.

    Args:
        path: of the socket.
        recording: what it knows.
        answer: how it answers; honestly by default.

    Attributes:
        asked: `command_key` of every command, in order.
        connections: how many came.
        most_at_once: how many there were at a time.
        aborted: whether a command came that ends this QEMU.
    """

    def __init__(self, path: Path, recording: Recording, answer: Answer = honest) -> None:
        self.path = path
        self.asked: list[str] = []
        self.connections = 0
        self.most_at_once = 0
        self.aborted = False
        self.answer = answer
        self._recording = recording
        self._at_once = 0
        self._failures: list[BaseException] = []
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def now_connected(self) -> int:
        """Connections that are open."""
        return self._at_once

    def close(self) -> None:
        """Close all connections, and the socket."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()
        self._loop.close()
        assert not self._failures

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        clients: set[asyncio.Task[None]] = set()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = asyncio.ensure_future(self._client(reader, writer))
            clients.add(task)
            task.add_done_callback(clients.discard)
            task.add_done_callback(self._lost)

        server = await asyncio.start_unix_server(accept, self.path)
        self._ready.set()
        await self._stop.wait()
        server.close()
        # One that was accepted just now has to begin, or it would end without closing; and what
        # has been closed is only gone after the loop's next turn.
        for _ in range(3):
            await asyncio.sleep(0)
        for task in list(clients):
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)
        await asyncio.sleep(0)

    def _lost(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            self._failures.append(error)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            version = self._recording.value("query-version")
            greeting = {"QMP": {"version": version, "capabilities": ["oob"]}}
            await self._send(writer, "greeting", _line(greeting))
            async for request in _requests(reader):
                await self._command(writer, request)
        except (LeaveError, ConnectionError):
            pass
        except HangError:
            with suppress(ConnectionError):  # of one who leaves before it has read all
                await reader.read()
        finally:
            self._at_once -= 1
            writer.transport.abort()

    async def _command(self, writer: asyncio.StreamWriter, request: dict[str, Any]) -> None:
        name = request.get("execute") or request["exec-oob"]
        negotiates = name == "qmp_capabilities"  # its arguments are the client's business
        key = command_key(name, None if negotiates else request.get("arguments"))
        self.asked.append(key)
        if name in self._recording.fatal:
            self.aborted = True
            raise LeaveError
        reply = dict(self._recording.replies.get(key, _NOT_FOUND))
        if negotiates:
            reply = {"return": {}}
        if "id" in request:
            reply["id"] = request["id"]
        await self._send(writer, key, _line(reply))

    async def _send(self, writer: asyncio.StreamWriter, key: str, line: bytes) -> None:
        for piece in self.answer(key, line):
            writer.write(piece)
            await writer.drain()


async def _requests(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
    """Commands as they come, with or without a newline between them."""
    text = ""
    while data := await reader.read(1 << 16):
        text += data.decode()
        while text := text.lstrip():
            try:
                request, end = json.JSONDecoder().raw_decode(text)
            except json.JSONDecodeError:
                break  # there is more to come
            text = text[end:]
            yield request


def _line(message: object) -> bytes:
    return json.dumps(message).encode() + b"\r\n"
