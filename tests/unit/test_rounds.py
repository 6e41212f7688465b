# SPDX-License-Identifier: Apache-2.0
"""Conversations are begun when they are due, beside one another, and given up at the end."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from kvmexporter.rounds import Conversation, Rounds
from tests.waiting import eventually


def test_each_goes_its_own_way() -> None:
    """One that hangs delays none; all that is due is begun, round after round."""
    begun: list[str] = []
    given_up = threading.Event()

    async def hanging() -> None:
        begun.append("hangs")
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            given_up.set()
            raise

    async def short() -> None:
        begun.append("short")

    def due() -> Iterator[Conversation]:
        if not begun:
            yield hanging()
        yield short()

    rounds = Rounds("test", due)
    rounds.start()
    eventually(lambda: begun.count("short") >= 3)
    rounds.close()
    assert given_up.is_set()
    assert begun.count("hangs") == 1


def test_one_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    """What goes wrong in one round is told, and there is a next one."""
    rounds_so_far: list[int] = []

    def due() -> Iterator[Conversation]:
        rounds_so_far.append(1)
        if len(rounds_so_far) == 1:
            raise ValueError("not this time")
        return iter(())

    rounds = Rounds("test", due)
    rounds.start()
    eventually(lambda: len(rounds_so_far) >= 2)
    rounds.close()
    assert [record.getMessage() for record in caplog.records] == ["looking for VMs to ask failed"]


def test_closed_before_it_began() -> None:
    """Then there is nothing to end."""
    Rounds("test", lambda: ()).close()
