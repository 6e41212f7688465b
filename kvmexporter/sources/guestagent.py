# SPDX-License-Identifier: Apache-2.0
"""A guest's own word on its time, over the socket of its agent.

Source: qga/qapi-schema.json (QEMU 7.2 to 11.1): `guest-sync-delimited`, `guest-get-time`. Four
lines each way. A socket serves one client: connect, ask, leave. The guest may answer anything,
late, or not at all: what is read is bounded, and so is the time.
"""

import asyncio
import json
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from socket import socket as Socket  # noqa: N812 - parameters are called socket

from kvmexporter.errors import KvmExporterError
from kvmexporter.model.vm_clocks import AgentTime, agent_time
from kvmexporter.sources.socketpaths import LibvirtsOwn, SocketPaths

# An answer has some dozen bytes; what an earlier client left unread may come before it.
MAX_REPLY_BYTES = 65_536
_QUESTIONS = 3
_SENTINEL = b"\xff"
_MAX_SYNC = 1 << 31

# struct timespec goes on for longer, but no guest's clock does.
_MAX_TIME_NS = 1 << 63


Door = Path | Socket
"""A path, or a connection that somebody with more rights has made."""


class AgentError(KvmExporterError):
    """An agent did not answer as one does; the message says what it did."""


class AgentSockets:
    """The sockets of the guests' agents.

    Args:
        realtime_ns: CLOCK_REALTIME.
        monotonic_ns: CLOCK_MONOTONIC, nanoseconds.
    """

    def __init__(
        self,
        realtime_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._paths = SocketPaths()
        self._realtime_ns = realtime_ns
        self._monotonic_ns = monotonic_ns

    async def ask_time(self, socket: Door, deadline_seconds: float) -> AgentTime:
        """Compare a guest's clock with the host's.

        Args:
            socket: of its agent, as this process sees it, or a connection to it, which is closed.
            deadline_seconds: for the whole conversation.

        Raises:
            AgentError: there is no answer in time, or none that makes sense.
        """
        try:
            async with asyncio.timeout(deadline_seconds):
                if not isinstance(socket, Path):
                    reading = asyncio.open_unix_connection(sock=socket, limit=MAX_REPLY_BYTES)
                    return await self._converse(*await reading)
                fd = await self._paths.open(socket)
                try:
                    # Through a descriptor: a path may be longer than an address can be.
                    place = f"/proc/self/fd/{fd}"
                    reading = asyncio.open_unix_connection(place, limit=MAX_REPLY_BYTES)
                    return await self._converse(*await reading)
                finally:
                    os.close(fd)
        except TimeoutError as err:
            raise AgentError(f"no answer in {deadline_seconds:g} s; does an agent run?") from err
        except asyncio.IncompleteReadError as err:
            raise AgentError("it hung up") from err
        except asyncio.LimitOverrunError as err:
            raise AgentError(f"more than {MAX_REPLY_BYTES} bytes instead of an answer") from err
        except LibvirtsOwn as err:
            raise AgentError(str(err)) from err
        except OSError as err:
            raise AgentError(err.strerror or str(err) or type(err).__name__) from err
        except (ValueError, LookupError, TypeError, RecursionError) as err:
            raise AgentError(f"an answer that is not an agent's ({type(err).__name__})") from err

    async def _converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> AgentTime:
        try:
            conversation = _Conversation(reader, writer)
            await conversation.synchronize()
            exchanges = []
            for _ in range(_QUESTIONS):
                before_ns, began_ns = self._realtime_ns(), self._monotonic_ns()
                guest_ns = await conversation.time_ns()
                # By the clock that nobody sets: a step meanwhile must not shorten the trip.
                took_ns = self._monotonic_ns() - began_ns
                exchanges.append((before_ns, guest_ns, before_ns + took_ns))
        finally:
            writer.transport.abort()
        return agent_time(exchanges)


class _Conversation:
    """Questions and answers, a line each."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def synchronize(self) -> None:
        """Pass over whatever is left of earlier conversations.

        The agent answers behind a byte that no text has, and repeats the number it was given.
        """
        number = secrets.randbelow(_MAX_SYNC)
        self._say("guest-sync-delimited", id=number, lead=_SENTINEL)
        passed = 0
        while passed <= MAX_REPLY_BYTES:
            passed += len(await self._reader.readuntil(_SENTINEL))
            line = await self._line()
            passed += len(line)
            if _value(line) == number:
                return
        raise AgentError(f"{MAX_REPLY_BYTES} bytes of others' answers")

    async def time_ns(self) -> int:
        """The guest's CLOCK_REALTIME."""
        self._say("guest-get-time")
        value = _value(await self._line())
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < _MAX_TIME_NS:
            raise ValueError("no time")
        return value

    async def _line(self) -> bytes:
        line = await self._reader.readline()
        if not line.endswith(b"\n"):
            raise asyncio.IncompleteReadError(line, None)
        return line

    def _say(self, command: str, lead: bytes = b"", **arguments: int) -> None:
        request = {"execute": command} | ({"arguments": arguments} if arguments else {})
        self._writer.write(lead + json.dumps(request).encode() + b"\n")


def _value(line: bytes) -> object:
    """What a command returned.

    Raises:
        ValueError, LookupError, TypeError: it returned nothing, or that is no answer.
    """
    reply = json.loads(line)
    return reply["return"]
