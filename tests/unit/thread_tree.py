# SPDX-License-Identifier: Apache-2.0
"""Threads in a procfs tree, for what reads /proc/PID/task."""

import shutil
from pathlib import Path

KTHREADD = 2


class ThreadTree:
    """Threads as files.

    Args:
        root: the procfs tree.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def thread(self, pid: int, tid: int, name: str, cpu_ns: int = 0, run_delay_ns: int = 0) -> None:
        """Add a thread, or change it; without CPU time it has never run."""
        place = self.root / f"{pid}/task/{tid}"
        place.mkdir(parents=True, exist_ok=True)
        (place / "comm").write_text(f"{name}\n")
        (place / "schedstat").write_text(f"{cpu_ns} {run_delay_ns} {int(cpu_ns > 0)}\n")

    def end(self, pid: int, tid: int) -> None:
        """Remove a thread."""
        shutil.rmtree(self.root / f"{pid}/task/{tid}")

    def kernel_threads(self, *tids: int) -> None:
        """Which threads the kernel has; `thread` adds what they are."""
        self.thread(KTHREADD, KTHREADD, "kthreadd", 1)
        listed = "".join(f"{tid} " for tid in tids)
        (self.root / f"{KTHREADD}/task/{KTHREADD}/children").write_text(listed)
