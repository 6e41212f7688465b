# SPDX-License-Identifier: Apache-2.0
"""Many who ask at once are one sampling and one rendering.

Every answer is from a sampling that began after its question. Those who ask while one is
under way share the next.
"""

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kvmexporter.sampler import Snapshot

_THREADS = 2
_MAX_RENDERINGS = 16


class Round:
    """One snapshot, and what has been made of it."""

    def __init__(self, snapshot: Snapshot, threads: ThreadPoolExecutor) -> None:
        self.snapshot = snapshot
        self._threads = threads
        self._made: dict[Hashable, asyncio.Future[Any]] = {}

    async def rendering(self, key: Hashable, render: Callable[[Snapshot], Any]) -> Any:
        """What `render` makes of the snapshot, made once for all who name the same key."""
        made = self._made.get(key)
        if made is None:
            loop = asyncio.get_running_loop()
            made = asyncio.ensure_future(loop.run_in_executor(self._threads, render, self.snapshot))
            if len(self._made) < _MAX_RENDERINGS:
                self._made[key] = made
        return await asyncio.shield(made)


class Scrapes:
    """Samples for who asks; belongs to one event loop.

    Args:
        sample: takes a snapshot; called in a thread, one call at a time.
    """

    def __init__(self, sample: Callable[[], Snapshot]) -> None:
        self._sample = sample
        self._threads = ThreadPoolExecutor(_THREADS, "scrape")
        self._turn = asyncio.Lock()
        self._next: asyncio.Task[Round] | None = None

    def close(self) -> None:
        """After what is under way."""
        self._threads.shutdown()

    async def round(self) -> Round:
        """A snapshot whose sampling began after this call."""
        if self._next is None:
            self._next = asyncio.create_task(self._take())
        # Who leaves does not take it from the others.
        return await asyncio.shield(self._next)

    async def _take(self) -> Round:
        async with self._turn:
            self._next = None
            loop = asyncio.get_running_loop()
            snapshot = await loop.run_in_executor(self._threads, self._sample)
            return Round(snapshot, self._threads)
