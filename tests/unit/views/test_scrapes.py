# SPDX-License-Identifier: Apache-2.0
"""Many who ask at once."""

import asyncio
import threading
import time

import pytest

from kvmexporter.views.scrapes import Scrapes


class Counted:
    """Answers numbered in their order, and how many were made at once at most."""

    def __init__(self) -> None:
        self.made = 0
        self.at_once = 0
        self.most = 0
        self._lock = threading.Lock()

    def make(self) -> int:
        with self._lock:
            self.made += 1
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            number = self.made
        time.sleep(0.05)
        with self._lock:
            self.at_once -= 1
        return number


def test_those_who_ask_together_share() -> None:
    """64 at once are two samplings at most: the one under way, and the next for the rest."""
    counted = Counted()

    async def ask() -> None:
        scrapes = Scrapes()
        first = asyncio.ensure_future(scrapes.answer("same", counted.make))
        await asyncio.sleep(0.01)
        rest = await asyncio.gather(*(scrapes.answer("same", counted.make) for _ in range(63)))
        assert await first == 1
        assert set(rest) == {2}
        scrapes.close()

    asyncio.run(ask())
    assert (counted.made, counted.most) == (2, 1)


def test_those_who_ask_for_something_else_do_not() -> None:
    """They come one after the other, in the order of their questions."""
    counted = Counted()

    async def ask() -> None:
        scrapes = Scrapes()
        questions = ["text", "openmetrics", "text", "page"]
        answers = await asyncio.gather(*(scrapes.answer(one, counted.make) for one in questions))
        # The first may have begun before the third was asked.
        assert answers in ([1, 2, 1, 3], [1, 2, 3, 4])
        scrapes.close()

    asyncio.run(ask())
    assert counted.most == 1


def test_no_answer_is_older_than_its_question() -> None:
    """However close to its beginning one asks."""
    begun = 0

    def make() -> int:
        nonlocal begun
        begun += 1
        return begun

    async def ask() -> None:
        scrapes = Scrapes()

        async def one() -> None:
            for _ in range(300):
                before = begun
                assert await scrapes.answer("same", make) > before

        await asyncio.gather(*(one() for _ in range(8)))
        scrapes.close()

    asyncio.run(ask())


def test_who_leaves_takes_nothing_from_others() -> None:
    """The answer comes all the same."""
    counted = Counted()

    async def ask() -> None:
        scrapes = Scrapes()
        await asyncio.sleep(0)
        under_way = asyncio.ensure_future(scrapes.answer("same", counted.make))
        await asyncio.sleep(0.01)
        leaver = asyncio.ensure_future(scrapes.answer("same", counted.make))
        stayer = asyncio.ensure_future(scrapes.answer("same", counted.make))
        await asyncio.sleep(0.01)
        leaver.cancel()
        assert await stayer == 2
        assert await under_way == 1
        scrapes.close()

    asyncio.run(ask())


def test_what_fails_fails_who_asked() -> None:
    """And not the next."""
    counted = Counted()

    def broken() -> int:
        raise RuntimeError("broken")

    async def ask() -> None:
        scrapes = Scrapes()
        with pytest.raises(RuntimeError):
            await scrapes.answer("same", broken)
        assert await scrapes.answer("same", counted.make) == 1
        scrapes.close()

    asyncio.run(ask())
