# SPDX-License-Identifier: Apache-2.0
"""Threads: their names, the CPU time they got and the time they waited for a CPU.

Source: `/proc/PID/task/TID/schedstat` (Documentation/scheduler/sched-stats.rst),
`/proc/PID/task/TID/comm` and, for kernel threads, `/proc/2/task/2/children` (proc(5)).
One small file a thread, about 10 µs.
"""

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from kvmexporter.sources.procfs import content

_MAX_BYTES = 128
_KTHREADD = 2

# A thread gets its name right after it has begun.
_LOOKS = 2


class ThreadTimes(NamedTuple):
    """What the scheduler gave a thread since it began.

    Attributes:
        cpu_ns: time on a CPU.
        run_delay_ns: time that it was runnable and waited for one.
    """

    cpu_ns: int
    run_delay_ns: int


class Schedstat:
    """The threads of a procfs tree.

    Args:
        root: where it is mounted.
    """

    def __init__(self, root: Path = Path("/proc")) -> None:
        self._root = root

    def times(self, pid: int, tid: int) -> ThreadTimes | None:
        """A thread's times; None if it is gone, never ran, or the kernel keeps no account."""
        fields = content(f"{self._root}/{pid}/task/{tid}/schedstat", _MAX_BYTES).split()
        # All zero: never on a CPU, or accounting is off.
        if len(fields) < 2 or not (cpu_ns := int(fields[0])):
            return None
        return ThreadTimes(cpu_ns, int(fields[1]))

    def tids(self, pid: int) -> list[int]:
        """The threads of a process, none of one that is gone."""
        try:
            return [int(name) for name in os.listdir(f"{self._root}/{pid}/task")]  # noqa: PTH208 - names are all it takes
        except OSError:
            return []

    def name(self, pid: int, tid: int) -> str:
        """A thread's name, "" if it is gone."""
        data = content(f"{self._root}/{pid}/task/{tid}/comm", _MAX_BYTES)
        return data.removesuffix(b"\n").decode(errors="replace")

    def kernel_threads(self) -> list[int]:
        """The kernel's own threads; none where they cannot be seen (a PID namespace)."""
        if self.name(_KTHREADD, _KTHREADD) != "kthreadd":
            return []
        path = self._root / f"{_KTHREADD}/task/{_KTHREADD}/children"
        try:
            return [int(pid) for pid in path.read_bytes().split()]
        except OSError:
            return []


class NamedThreads:
    """Finds threads by name among many, most of which are never looked at again.

    A name is read when its thread is new, once more afterwards, and always if it was one
    that is wanted.

    Args:
        name: thread → its name.
        wanted: what a whole name has to match.
    """

    def __init__(self, name: Callable[[int], str], wanted: re.Pattern[str]) -> None:
        self._name = name
        self._wanted = wanted
        self._looks: dict[int, int] = {}

    def among(self, tids: Iterable[int]) -> dict[int, re.Match[str]]:
        """Those of these threads that have a wanted name; those not given are forgotten."""
        found = {}
        looks = {}
        for tid in tids:
            before = self._looks.get(tid, 0)
            looks[tid] = before
            if before < _LOOKS:
                matched = self._wanted.fullmatch(self._name(tid))
                if matched:
                    found[tid] = matched
                else:
                    looks[tid] = before + 1
        self._looks = looks
        return found
