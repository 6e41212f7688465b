# SPDX-License-Identifier: Apache-2.0
"""Conversations with VMs in the background: what `addressing` and `agents` have in common."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Iterable

_log = logging.getLogger(__name__)

TICK_SECONDS = 0.25

Conversation = Coroutine[None, None, None]


class Rounds:
    """A thread of its own that begins the conversations that are due, tick by tick.

    Each has to bound its own time; none waits for another, and those under way at the end
    are given up.

    Args:
        name: of the thread.
        due: the conversations to begin now; called in the thread.
    """

    def __init__(self, name: str, due: Callable[[], Iterable[Conversation]]) -> None:
        self._name = name
        self._due = due
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End, and wait until every conversation has left its socket to others."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def pause(self, seconds: float) -> None:
        """Wait in the calling thread, until the end at most."""
        self._stop.wait(seconds)

    def _run(self) -> None:
        asyncio.run(self._keep_going())

    async def _keep_going(self) -> None:
        under_way: set[asyncio.Task[None]] = set()
        while not self._stop.is_set():
            try:
                for conversation in self._due():
                    task = asyncio.create_task(conversation)
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
            except Exception:  # noqa: BLE001 - the next round may do better
                _log.exception("looking for VMs to ask failed", extra={"rounds": self._name})
            await asyncio.sleep(TICK_SECONDS)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
