# SPDX-License-Identifier: Apache-2.0
"""Between an exporter and a QEMU: passes on what they say on a QMP socket, and keeps it.

    with Tap(guest_socket) as tap:
        ...
    tap.replies  # command_key → what QEMU answered last

The socket's file is moved aside, so that whoever connects to its path meets the tap.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from tests.unit.model.record import command_key

_LIMIT = 8 << 20


async def requests(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, Any]]:
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


def key_of(request: dict[str, Any]) -> str:
    """The `command_key` of a request."""
    name = request.get("execute") or request["exec-oob"]
    return command_key(name, request.get("arguments"))


class Tap:
    """A tap on one socket; a context manager.

    Args:
        path: of the socket.

    Attributes:
        replies: `command_key` → QEMU's last answer, without its id.
    """

    def __init__(self, path: Path) -> None:
        self.replies: dict[str, dict[str, Any]] = {}
        self._path = path
        self._real = path.with_name(f"{path.name}.real")
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._path.rename(self._real)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        self._real.rename(self._path)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        server = await asyncio.start_unix_server(self._client, self._path)
        self._ready.set()
        await self._stop.wait()
        server.close()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        qemu, to_qemu = await asyncio.open_unix_connection(self._real, limit=_LIMIT)
        asked: dict[str, str] = {}
        answers = asyncio.create_task(self._answers(qemu, writer, asked))
        try:
            async for request in requests(reader):
                asked[str(request.get("id"))] = key_of(request)
                to_qemu.write(json.dumps(request).encode() + b"\n")
        finally:
            answers.cancel()
            with suppress(asyncio.CancelledError):
                await answers
            to_qemu.close()
            writer.close()

    async def _answers(
        self, qemu: asyncio.StreamReader, writer: asyncio.StreamWriter, asked: dict[str, str]
    ) -> None:
        while line := await qemu.readline():
            message = json.loads(line)
            if key := asked.pop(str(message.pop("id", None)), None):
                self.replies[key] = message
            writer.write(line)
        writer.close()
