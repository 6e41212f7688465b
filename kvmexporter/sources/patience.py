# SPDX-License-Identifier: Apache-2.0
"""Calls into the outside world that may never return, each in a thread of its own.

A path that a tenant chose may lie on a file system of his own (FUSE), where opening a file takes
as long as he likes, and no signal ends the wait. Whoever needs such a call waits for it here as
long as it cares to; the thread is left behind, and until it comes back nothing else is begun for
the same key. So a tenant costs one thread at most.
"""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import TypeVar

T = TypeVar("T")


class StuckError(OSError):
    """An earlier call for the same key has not come back yet."""


class Patience:
    """Begins such calls; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pending: set[Hashable] = set()

    def begin(
        self, key: Hashable, call: Callable[[], T], undo: Callable[[T], object] | None = None
    ) -> Future[T]:
        """Begin a call, and return at once.

        Args:
            key: whose it is.
            call: what may take for ever.
            undo: given what the call returned if nobody waits for it any more, which is said by
                cancelling the future: closes a descriptor, for instance.

        Returns:
            The call's result, or its error.

        Raises:
            StuckError: the last one for this key has not come back.
        """
        with self._lock:
            if key in self._pending:
                raise StuckError("an earlier attempt has not come back yet")
            self._pending.add(key)
        future: Future[T] = Future()

        def run() -> None:
            error: Exception | None = None
            try:
                result = call()
            except Exception as err:  # noqa: BLE001 - it is the caller's, who waits elsewhere
                error = err
            with self._lock:
                self._pending.discard(key)
            if not future.set_running_or_notify_cancel():
                if error is None and undo:
                    undo(result)
            elif error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        threading.Thread(target=run, name="patience", daemon=True).start()
        return future
