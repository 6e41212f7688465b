# SPDX-License-Identifier: Apache-2.0
"""One short conversation with a VMM over its QMP socket: connect, ask, leave.

A socket serves one client. What comes back is the VMM's word, and a tenant's VMM may be
hostile: a reply is bounded in size, a conversation in time, and a reply of another shape than
expected is an error. What is asked is the business of `qemu.py` and the modules that it calls.
"""

import asyncio
import math
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from socket import socket as Socket  # noqa: N812 - a class, named like one
from typing import Any, Protocol, Self, TypeVar
from weakref import WeakValueDictionary

from qemu.qmp import ExecuteError, QMPClient, QMPError
from qemu.qmp.error import ProtocolError
from qemu.qmp.message import Message

from kvmexporter.errors import KvmExporterError
from kvmexporter.model.vm import bounded_name
from kvmexporter.sources.socketpaths import LibvirtsOwn, SocketPaths

# For each answer: a VMM that takes longer hangs, while one that is slow gets through a visit.
ANSWER_SECONDS = 5.0
MAX_REPLY_BYTES = 4 * 1024 * 1024
MAX_EVENTS = 10_000
_TURN_BYTES = 16 * 1024
# QEMU stops reading when it has queued one more (QMP_REQ_QUEUE_LEN_MAX, include/monitor/monitor.h);
# one before 4.2 may never go on if its client leaves then.
MAX_UNDER_WAY = 7

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DomainMonitor:
    """Where a libvirt domain's QEMU may be asked: at libvirt, by the domain's uuid."""

    uuid: str


# Where a VMM takes QMP: a path, a connection that somebody else has made, or libvirt.
Door = Path | Socket | DomainMonitor

# What reading an answer of another shape than QEMU's may end in.
NOT_QEMU = (
    LookupError, TypeError, ArithmeticError, ValueError, AttributeError, RecursionError
)  # fmt: skip


class QmpError(KvmExporterError):
    """A VMM did not answer as a QEMU does; the message says what it did."""


class Refused(QmpError):  # noqa: N818 - an answer, not a mistake
    """The VMM does not know the command, or not the object that it is about."""


class Monitor(Protocol):
    """Whoever takes QMP commands for a VM; several may be under way, see `Together`."""

    async def execute(self, command: str, arguments: Mapping[str, object] | None = None) -> object:
        """Run a command and return what it returns, of a shape that nobody has checked.

        Raises:
            Refused: the VMM answered with an error.
        """


class Together:
    """Questions that do not depend on one another, asked without waiting for each answer.

        async with Together() as asked:
            version, blocks = asked.by(_version(monitor)), asked.by(_blocks(monitor))
        version.result()

    Leaving waits for all of them, and raises `Refused` if one did. What else is raised gives up
    those that are still under way: it ends a conversation.
    """

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[Any]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            await self._give_up()
            return
        refused = None
        for task in self._tasks:
            try:
                await task
            except Refused as err:
                refused = refused or err
            except BaseException:
                await self._give_up()
                raise
        if refused:
            raise refused

    async def _give_up(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def by(self, question: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin to ask one."""
        task = asyncio.ensure_future(question)
        self._tasks.append(task)
        return task


async def all_of(questions: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What each of these questions brought, asked `Together`."""
    async with Together() as asked:
        tasks = [asked.by(question) for question in questions]
    return [task.result() for task in tasks]


class _Conversation:
    """A monitor behind a socket.

    Args:
        client: connected to it.
        patience: ends the conversation; put off from one answer to the next.
    """

    def __init__(self, client: QMPClient, patience: asyncio.Timeout) -> None:
        self._client = client
        self._patience = patience
        self._deadline = patience.when() or math.inf
        # Commands go out in rounds, so that many of them are one piece.
        self._sent = 0
        self._awaited = 0
        self._round_is_over = asyncio.Event()

    async def execute(self, command: str, arguments: Mapping[str, object] | None = None) -> object:
        """Run a command, as `Monitor` says."""
        # Not written out before it has its number.
        message = Message({"execute": command}, eager=False)
        if arguments:
            message["arguments"] = dict(arguments)
        while self._sent == MAX_UNDER_WAY:
            await self._round_is_over.wait()
        self._sent += 1
        self._awaited += 1
        if self._awaited == 1:
            self._wait_for_answer()
        try:
            reply = await self._client.execute_msg(message)
        except ExecuteError as err:
            raise Refused(bounded_name(str(err))) from err
        finally:
            self._awaited -= 1
            self._wait_for_answer()
            if not self._awaited:
                self._sent = 0
                self._round_is_over.set()
                self._round_is_over.clear()
        return reply

    def _wait_for_answer(self) -> None:
        """The next answer, if there is one to come, has its time from now on."""
        if self._patience.expired():
            return
        overdue = asyncio.get_running_loop().time() + ANSWER_SECONDS
        self._patience.reschedule(min(self._deadline, overdue) if self._awaited else self._deadline)


class QmpSockets:
    """The sockets of a host's VMMs, each of which has one conversation at a time.

    Two VMs may name one socket, and each is told to wait for the other.
    """

    def __init__(self) -> None:
        self._paths = SocketPaths()
        # Inode → who is in conversation there, and who waits for it.
        self._turns: WeakValueDictionary[tuple[int, int], asyncio.Lock] = WeakValueDictionary()

    async def ask(
        self,
        socket: Path | Socket,
        deadline_seconds: float,
        questions: Callable[[Monitor], Awaitable[T]],
    ) -> T:
        """Connect to a VMM, ask it, leave.

        Args:
            socket: its QMP socket, as this process sees it, or a connection to it, which is
                closed.
            deadline_seconds: for the whole conversation; a single answer has `ANSWER_SECONDS`.
            questions: what to ask.

        Raises:
            QmpError: there is no answer in time, or none that makes sense.
        """
        client = _Client()
        where = bounded_name(_name(socket))
        # Events would queue up unread, as many as the VMM cares to send.
        client.events.event_filter = lambda _event: False
        begun = asyncio.get_running_loop().time()
        deadline = begun + deadline_seconds
        try:
            async with self._reached(
                socket, begun + min(deadline_seconds, ANSWER_SECONDS)
            ) as address:
                try:
                    async with asyncio.timeout_at(deadline) as patience:
                        async with asyncio.timeout(ANSWER_SECONDS):
                            await client.connect(address)
                        return await questions(_Conversation(client, patience))
                finally:
                    await _leave(client)
        except TimeoutError as err:
            over = asyncio.get_running_loop().time() >= deadline
            seconds = deadline_seconds if over else ANSWER_SECONDS
            raise QmpError(f"no answer on {where} in {seconds:g} s; is it in use?") from err
        except Refused as err:
            raise QmpError(f"{where}: {err}") from err
        except (QMPError, EOFError, OSError, LibvirtsOwn) as err:
            raise QmpError(f"{where}: {_cause(err)}") from err
        except NOT_QEMU as err:
            raise QmpError(f"{where}: an answer that is not QEMU's ({type(err).__name__})") from err

    @asynccontextmanager
    async def _reached(self, socket: Path | Socket, deadline: float) -> AsyncIterator[str | Socket]:
        """Where to connect to, when it is this conversation's turn."""
        if not isinstance(socket, Path):
            # Whoever made the connection has made sure that it leads to that VM and no other.
            with socket:
                yield socket
            return
        async with asyncio.timeout_at(deadline):
            fd = await self._paths.open(socket)
        try:
            turn = self._turn(fd)
            async with asyncio.timeout_at(deadline):
                await turn.acquire()
            try:
                # Through a descriptor: a path may be longer than an address can be.
                yield f"/proc/self/fd/{fd}"
            finally:
                turn.release()
        finally:
            os.close(fd)

    def _turn(self, fd: int) -> asyncio.Lock:
        status = os.fstat(fd)
        key = status.st_dev, status.st_ino
        turn = self._turns.get(key)
        if turn is None:
            turn = self._turns[key] = asyncio.Lock()
        return turn


def as_list(reply: object) -> list[Any]:
    """A reply that has to be a list; TypeError if it is not, as in the next two."""
    if not isinstance(reply, list):
        raise TypeError(f"{type(reply).__name__} where a list belongs")
    return reply


def as_mapping(reply: object) -> Mapping[str, Any]:
    """A reply that has to be an object."""
    if not isinstance(reply, dict):
        raise TypeError(f"{type(reply).__name__} where an object belongs")
    return reply


def as_text(reply: object) -> str:
    """A reply that has to be text."""
    if not isinstance(reply, str):
        raise TypeError(f"{type(reply).__name__} where text belongs")
    return reply


class _Reply(Message):
    """A message that does not write itself out for a log that nobody keeps.

    Indented as the client would, 4 MiB may become gigabytes.
    """

    def __str__(self) -> str:
        return "a message"


class _Client(QMPClient):
    """A client for servers that may be hostile."""

    def __init__(self) -> None:
        super().__init__("kvmexporter", MAX_REPLY_BYTES)
        self._unasked = 0
        self._unsent = b""
        self._read_bytes = 0

    def hang_up(self) -> None:
        """Close the connection if it still is open, whatever is under way."""
        if self._writer is not None:
            self._writer.transport.abort()

    def _cb_outbound(self, msg: Message) -> Message:
        # The client would write each message out for its log, kept or not.
        return msg

    def _do_send(self, msg: Message) -> None:
        # What is sent at one moment is sent in one piece.
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._send_all)
        self._unsent += bytes(msg)

    def _send_all(self) -> None:
        unsent, self._unsent = self._unsent, b""
        if self._writer is not None:
            self._writer.write(unsent)

    async def _do_recv(self) -> Message:
        # The client reads on as long as there is something to be read; others want their turn.
        if self._read_bytes >= _TURN_BYTES:
            self._read_bytes = 0
            await asyncio.sleep(0)
        line = await self._readline()
        self._read_bytes += len(line)
        try:
            message = _Reply(line, eager=True)
        except (QMPError, ValueError, RecursionError) as err:
            # Without the cause, which quotes all of it.
            raise ProtocolError(f"no QMP message ({type(err).__name__})") from None
        if "event" in message:
            self._unasked += 1
            if self._unasked > MAX_EVENTS:
                raise ProtocolError(f"more than {MAX_EVENTS} events")
        return message


def _name(socket: Path | Socket) -> str:
    return str(socket) if isinstance(socket, Path) else str(socket.getpeername())


async def _leave(client: _Client) -> None:
    try:
        async with asyncio.timeout(1.0):
            await client.disconnect()
    except Exception:  # noqa: BLE001 - whatever ended the visit has been said already
        return
    finally:
        client.hang_up()


def _cause(err: BaseException) -> str:
    """The innermost reason, in one bounded line."""
    while err.__cause__ is not None:
        err = err.__cause__
    return bounded_name(str(err) or type(err).__name__)
