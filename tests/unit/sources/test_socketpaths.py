# SPDX-License-Identifier: Apache-2.0
"""Paths of sockets: many who ask for one, links that lead to libvirt, opens that never return."""

import asyncio
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvmexporter.sources.patience import StuckError
from kvmexporter.sources.socketpaths import LibvirtsOwn, SocketPaths

SECONDS = 20.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    place = tmp_path / "socket"
    place.touch()
    return place


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Opening takes until it is set, as on a file system that hangs."""
    event, opened = threading.Event(), os.open

    def hang(path: Path, flags: int) -> int:
        event.wait(SECONDS)
        return opened(path, flags)

    monkeypatch.setattr(os, "open", hang)
    yield event
    event.set()


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))  # noqa: PTH208 - names, not paths


def test_many_who_ask_for_one_path(path: Path) -> None:
    """At one time: each gets a descriptor of its own."""

    async def ask() -> list[int]:
        paths = SocketPaths()
        return await asyncio.gather(*(paths.open(path) for _ in range(17)))

    found = asyncio.run(ask())
    assert len(set(found)) == 17
    assert {os.fstat(fd).st_ino for fd in found} == {path.stat().st_ino}
    for fd in found:
        os.close(fd)


def test_a_link_to_libvirts(tmp_path: Path) -> None:
    """Is refused, and leaves nothing open."""
    directory = tmp_path / "libvirt"
    directory.mkdir()
    (directory / "monitor.sock").touch()
    link = tmp_path / "link"
    link.symlink_to(directory / "monitor.sock")
    before = descriptors()
    with pytest.raises(LibvirtsOwn):
        asyncio.run(SocketPaths().open(link))
    assert descriptors() == before


def test_what_is_not_there(tmp_path: Path) -> None:
    """Is the error that opening it gives."""
    with pytest.raises(FileNotFoundError):
        asyncio.run(SocketPaths().open(tmp_path / "none"))


def test_one_that_hangs(path: Path, gate: threading.Event) -> None:
    """Costs who asks his own patience; until it comes back, the next is told so at once."""

    async def ask() -> None:
        paths = SocketPaths()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await paths.open(path)
        with pytest.raises(StuckError):
            await paths.open(path)
        gate.set()
        async with asyncio.timeout(SECONDS):
            while True:
                try:
                    os.close(await paths.open(path))
                except StuckError:
                    await asyncio.sleep(0.01)
                else:
                    return

    before = descriptors()
    asyncio.run(ask())
    assert descriptors() == before, "what came too late is closed"


def test_one_that_comes_when_nobody_cares(path: Path) -> None:
    """Between the opening and the answer: it is closed all the same."""

    async def ask() -> None:
        paths = SocketPaths()
        for pause in range(40):
            task = asyncio.create_task(paths.open(path))
            await asyncio.sleep(pause * 10e-6)
            task.cancel()
            for fd in await asyncio.gather(task, return_exceptions=True):
                if isinstance(fd, int):
                    os.close(fd)

    before = descriptors()
    asyncio.run(ask())
    for _ in range(200):
        if descriptors() == before:
            break
        threading.Event().wait(0.05)
    assert descriptors() == before
