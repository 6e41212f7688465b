# SPDX-License-Identifier: Apache-2.0
"""Many who ask for the same at once are answered by one sampling.

Every answer is from a sampling that began after its question. Those who ask while one is
under way share the next.
"""

import asyncio
import threading
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

A = TypeVar("A")


class Scrapes:
    """Has answers made, one at a time; belongs to one event loop."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, "scrape")
        self._lock = threading.Lock()
        self._next: dict[Hashable, asyncio.Future[Any]] = {}

    def close(self) -> None:
        """After what is under way."""
        self._thread.shutdown()

    async def answer(self, key: Hashable, make: Callable[[], A]) -> A:
        """What `make` makes in a thread.

        Args:
            key: of the question: who asks it again before `make` has begun shares the answer.
                There are few.
            make: samples, and makes the answer.
        """
        with self._lock:  # it may begin at once
            coming = self._next.get(key)
            if coming is None:
                loop = asyncio.get_running_loop()
                coming = loop.run_in_executor(self._thread, self._make, key, make)
                self._next[key] = coming
        # Who leaves does not take it from the others.
        answer: A = await asyncio.shield(coming)
        return answer

    def _make(self, key: Hashable, make: Callable[[], A]) -> A:
        with self._lock:  # who asks from here on may not see what it begins with
            del self._next[key]
        return make()
