# SPDX-License-Identifier: Apache-2.0
"""What processes take: processor time and memory, as the kernel keeps account of it."""

import time
from pathlib import Path

_CPUCLOCK_SCHED = 2
_RESET_PEAK = "5"  # proc_pid_clear_refs(5)


def cpu_seconds(pid: int) -> float:
    """Processor time of a process, threads that ended included."""
    return time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)


def resident_bytes(pid: int) -> int:
    """The memory that a process occupies."""
    return _status(pid, "VmRSS")


def peak_resident_bytes(pid: int) -> int:
    """The most memory that it occupied, ever or since `forget_peak`."""
    return _status(pid, "VmHWM")


def forget_peak(pid: int) -> None:
    """The peak counts from now."""
    Path(f"/proc/{pid}/clear_refs").write_text(_RESET_PEAK)


def map_bytes(pid: int) -> int:
    """The kernel's memory of the BPF maps that a process holds."""
    maps = {}
    for entry in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            text = entry.read_text()
        except FileNotFoundError:  # closed meanwhile
            continue
        info = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        if "map_type" in info:
            maps[info["map_id"].strip()] = int(info["memlock"])
    return sum(maps.values())


def _status(pid: int, name: str) -> int:
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition(f"{name}:")[2].split()[0]) << 10
