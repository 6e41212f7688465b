# SPDX-License-Identifier: Apache-2.0
"""Many who ask at once."""

import asyncio
import threading
import time

import pytest

from kvmexporter.sampler import Snapshot
from kvmexporter.views.scrapes import Scrapes


class Counted:
    """Snapshots numbered by their time, and how many were taken at once at most."""

    def __init__(self) -> None:
        self.taken = 0
        self.at_once = 0
        self.most = 0
        self._lock = threading.Lock()

    def sample(self) -> Snapshot:
        with self._lock:
            self.taken += 1
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            number = self.taken
        time.sleep(0.05)
        with self._lock:
            self.at_once -= 1
        return Snapshot(float(number), 0.0, (), (), (), (), ())


def test_those_who_ask_together_share() -> None:
    """64 at once are two samplings at most: the one under way, and the next for the rest."""
    counted = Counted()
    rendered: list[float] = []

    def render(snapshot: Snapshot) -> float:
        rendered.append(snapshot.time)
        return snapshot.time

    async def ask() -> None:
        scrapes = Scrapes(counted.sample)

        async def one() -> float:
            taken = await scrapes.round()
            value: float = await taken.rendering("same", render)
            return value

        first = asyncio.ensure_future(one())
        await asyncio.sleep(0.01)
        rest = await asyncio.gather(*(one() for _ in range(63)))
        assert await first == 1.0
        assert set(rest) == {2.0}
        scrapes.close()

    asyncio.run(ask())
    assert (counted.taken, counted.most) == (2, 1)
    assert sorted(rendered) == [1.0, 2.0]


def test_who_leaves_takes_nothing_from_others() -> None:
    """Neither the sampling nor the rendering."""
    counted = Counted()

    async def ask() -> None:
        scrapes = Scrapes(counted.sample)
        leaver = asyncio.ensure_future(scrapes.round())
        stayer = asyncio.ensure_future(scrapes.round())
        await asyncio.sleep(0.01)
        leaver.cancel()
        assert (await stayer).snapshot.time == 1.0
        scrapes.close()

    asyncio.run(ask())


def test_a_sampling_that_fails_fails_who_asked() -> None:
    """And not the next."""
    counted = Counted()
    broken = True

    def sample() -> Snapshot:
        if broken:
            raise RuntimeError("broken")
        return counted.sample()

    async def ask() -> None:
        nonlocal broken
        scrapes = Scrapes(sample)
        with pytest.raises(RuntimeError):
            await scrapes.round()
        broken = False
        assert (await scrapes.round()).snapshot.time == 1.0
        scrapes.close()

    asyncio.run(ask())
