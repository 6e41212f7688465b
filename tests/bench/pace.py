# SPDX-License-Identifier: Apache-2.0
"""Whether others leave this machine's processors alone.

A processor of a virtual machine is one thread of a core, and whoever has the other takes of its
units and caches: all work takes up to 1.6 times as long then, for a second or ten. The kernel does
not see it: that time is spent in the work, and nothing counts as stolen. What is shorter than that
can be judged when it is over: by how long a known piece of work took before it and after.
"""

import os
import time
from collections.abc import Callable

_FIRST_LOOKS = 100
_FIRST_LOOKS_SECONDS = 0.02  # between two
_SLOWER = 1.1  # than ever
_TRIES = 3  # after one that warms the caches
_PIECES = 4_000


class Pace:
    """The pace of the processors that this process may use, against the best that they ever had.

    Args:
        work: does a known piece of work, and returns its seconds of processor time.
    """

    def __init__(self, work: Callable[[], float] | None = None) -> None:
        self._work = work or _work
        self._best = float("inf")

    def learn(self, pause: Callable[[float], object] = time.sleep) -> None:
        """See what they can be at their best: looks many times for some seconds."""
        for _ in range(_FIRST_LOOKS):
            self.is_best()
            pause(_FIRST_LOOKS_SECONDS)

    def is_best(self) -> bool:
        """Return whether all are at their best now, or nearly so: takes some milliseconds."""
        usable = os.sched_getaffinity(0)
        took = []
        try:
            for processor in usable:
                os.sched_setaffinity(0, {processor})
                self._work()
                took.append(min(self._work() for _ in range(_TRIES)))
        finally:
            os.sched_setaffinity(0, usable)
        self._best = min(self._best, *took)
        return max(took) <= self._best * _SLOWER


def _work() -> float:
    """Make and look up small objects, as a scrape does."""
    began = time.thread_time()
    made = {str(number): (number,) for number in range(_PIECES)}
    assert ",".join(made)
    return time.thread_time() - began
