# SPDX-License-Identifier: Apache-2.0
"""What processes take: processor time and memory, as the kernel keeps account of it."""

import time
from pathlib import Path

_CPUCLOCK_SCHED = 2


def cpu_seconds(pid: int) -> float:
    """Processor time of a process, threads that ended included."""
    return time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)


def resident_bytes(pid: int) -> int:
    """The memory that a process occupies."""
    return _status(pid, "VmRSS")


def peak_resident_bytes(pid: int) -> int:
    """The most memory that it ever occupied."""
    return _status(pid, "VmHWM")


def _status(pid: int, name: str) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition(f"{name}:")[2].split()[0]) << 10
