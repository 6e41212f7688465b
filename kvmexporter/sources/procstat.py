# SPDX-License-Identifier: Apache-2.0
"""Time the hypervisor ran something else while this system had work: steal time.

Source: proc(5), /proc/stat, the eighth number of the line `cpu`, in clock ticks.
One small file.
"""

import os
from pathlib import Path

from kvmexporter.units import ticks_to_ns

_STEAL_FIELD = 8


def steal_ns(root: Path = Path("/proc"), ticks_per_second: int | None = None) -> int | None:
    """Stolen time of all CPUs since boot, nanoseconds.

    Args:
        root: where procfs is mounted.
        ticks_per_second: of the kernel's clock ticks; None: this system's.

    Returns:
        None if the kernel does not say.
    """
    try:
        with (root / "stat").open("rb") as file:
            fields = file.readline().split()
    except OSError:
        return None
    if len(fields) <= _STEAL_FIELD or fields[0] != b"cpu" or not fields[_STEAL_FIELD].isdigit():
        return None
    ticks = ticks_per_second or os.sysconf("SC_CLK_TCK")
    return ticks_to_ns(int(fields[_STEAL_FIELD]), ticks)
