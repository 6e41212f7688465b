# SPDX-License-Identifier: Apache-2.0
"""Questions that do not wait for one another's answers."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path
from typing import TypeVar

import pytest

from kvmexporter.sources.qmp import (
    Monitor,
    QmpError,
    QmpSockets,
    Refused,
    Together,
    all_of,
    as_list,
)
from tests.unit.model.recorded import load
from tests.unit.sources.qmp_hostility import silent
from tests.unit.sources.qmp_server import HangError, QmpServer

T = TypeVar("T")

PC = load("7.2", "pc")
KEYS = ("query-version", "query-pci", "query-block", "query-cpus-fast", "x-query-virtio")


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    """Where a server may be."""
    return tmp_path / "qmp.sock"


def conversation(
    path: Path, questions: Callable[[Monitor], Awaitable[T]], seconds: float = 20.0
) -> T:
    return asyncio.run(QmpSockets().ask(path, seconds, questions))


def test_each_its_own_answer(socket: Path) -> None:
    """In the order of the questions, many more than may be under way."""

    async def questions(monitor: Monitor) -> list[object]:
        return await all_of(monitor.execute(key) for key in KEYS * 7)

    with QmpServer(socket, PC) as server:
        assert conversation(socket, questions) == [PC.value(key) for key in KEYS] * 7
    assert server.asked[1:] == list(KEYS) * 7


async def _requests(reader: asyncio.StreamReader) -> AsyncIterator[dict[str, object]]:
    text = ""
    while data := await reader.read(1 << 16):
        text += data.decode()
        while text:
            request, end = json.JSONDecoder().raw_decode(text)
            text = text[end:].lstrip()
            yield request


def test_how_many_are_under_way(socket: Path) -> None:
    """One less than QEMU queues, and the next when those have been answered."""
    rounds: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def answer() -> None:
            await asyncio.sleep(0.2)
            rounds.append(len(waiting))
            for request in waiting:
                reply = {"return": {}} | {key: request[key] for key in request if key == "id"}
                writer.write(json.dumps(reply).encode() + b"\n")
            waiting.clear()

        writer.write(b'{"QMP": {"version": {}, "capabilities": []}}\n')
        waiting: list[dict[str, object]] = []
        answering = None
        try:
            async for request in _requests(reader):
                waiting.append(request)
                if len(waiting) == 1:
                    answering = asyncio.create_task(answer())
            assert answering
            await answering
        finally:
            writer.close()
            served.set()

    async def questions(monitor: Monitor) -> list[object]:
        return await all_of(monitor.execute("query-name") for _ in range(19))

    async def asked() -> None:
        server = await asyncio.start_unix_server(serve, socket)
        async with server:
            await QmpSockets().ask(socket, 20.0, questions)
            await served.wait()

    served = asyncio.Event()
    asyncio.run(asked())
    assert rounds == [1, 7, 7, 5]  # the first negotiates


def test_a_slow_one(socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer has its time after the one before, however many are waited for."""
    monkeypatch.setattr("kvmexporter.sources.qmp.ANSWER_SECONDS", 0.8)

    def slowly(_key: str, line: bytes) -> Iterable[bytes]:
        time.sleep(0.2)
        yield line

    async def questions(monitor: Monitor) -> int:
        return len(await all_of(monitor.execute(key) for key in KEYS * 2))

    start = time.monotonic()
    with QmpServer(socket, PC, slowly):
        assert conversation(socket, questions) == 10
    assert time.monotonic() - start > 2 * 0.8


@pytest.mark.parametrize("key", KEYS)
def test_one_that_hangs(socket: Path, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is left as soon as an answer is overdue, whichever of them it is."""
    monkeypatch.setattr("kvmexporter.sources.qmp.ANSWER_SECONDS", 0.5)

    async def questions(monitor: Monitor) -> list[object]:
        return await all_of(monitor.execute(key) for key in KEYS)

    start = time.monotonic()
    with (
        QmpServer(socket, PC, silent(key)),
        pytest.raises(QmpError, match=r"no answer on .* in 0\.5 s"),
    ):
        conversation(socket, questions, 60.0)
    assert time.monotonic() - start < 5


def test_time_between_questions_is_ours(socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With no answer to wait for, none is overdue; the whole deadline holds all the same."""
    monkeypatch.setattr("kvmexporter.sources.qmp.ANSWER_SECONDS", 0.3)

    async def thinks(monitor: Monitor) -> object:
        await monitor.execute("query-version")
        await asyncio.sleep(0.6)
        return await monitor.execute("query-version")

    with QmpServer(socket, PC):
        assert conversation(socket, thinks) == PC.value("query-version")
        with pytest.raises(QmpError, match=r"in 0\.4 s"):
            conversation(socket, thinks, 0.4)


def test_one_is_refused(socket: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever asked is told when the others have been answered; no answer is left over."""

    async def questions(monitor: Monitor) -> object:
        with pytest.raises(Refused):
            await all_of(monitor.execute(key) for key in ("x-nobody", *["query-pci"] * 10))
        return await monitor.execute("query-version")

    with QmpServer(socket, PC) as server:
        assert conversation(socket, questions) == PC.value("query-version")
    assert server.asked.count("query-pci") == 10
    assert not caplog.records


def test_one_is_no_answer(socket: Path) -> None:
    """That gives up the others, also those that have not been sent."""

    async def one(monitor: Monitor, key: str) -> list[object]:
        return as_list(await monitor.execute(key))

    def slow(key: str, line: bytes) -> Iterable[bytes]:
        if key == "query-pci":
            time.sleep(0.02)
        yield line

    async def questions(monitor: Monitor) -> object:
        return await all_of(one(monitor, key) for key in ("query-version", *["query-pci"] * 20))

    with (
        QmpServer(socket, PC, slow) as server,
        pytest.raises(QmpError, match="an answer that is not QEMU's"),
    ):
        conversation(socket, questions)
    assert server.asked.count("query-pci") <= 6


def test_an_error_of_the_block(socket: Path) -> None:
    """Gives up the questions, too."""

    async def questions(monitor: Monitor) -> None:
        async with Together() as asked:
            task = asked.by(monitor.execute("query-pci"))
            await asyncio.sleep(0.05)
            try:
                raise ValueError("a bug")
            finally:
                tasks.append(task)

    def never(key: str, line: bytes) -> Iterable[bytes]:
        if key == "query-pci":
            raise HangError
        yield line

    tasks: list[asyncio.Task[object]] = []
    with QmpServer(socket, PC, never), pytest.raises(QmpError, match="ValueError"):
        conversation(socket, questions)
    assert tasks[0].cancelled()
