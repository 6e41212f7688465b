# SPDX-License-Identifier: Apache-2.0
"""How quiet the machine was while it was measured on."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

_STEAL = 7  # of the numbers in /proc/stat's first line, as proc(5) has them
_IDLE = 3
_TICK = os.sysconf("SC_CLK_TCK")
_QUIET_LOAD = 1.0


@dataclass(frozen=True, slots=True)
class Quiet:
    """The machine over the whole run.

    Attributes:
        load_before: its load average over a minute, when the run began.
        load_after: and when it ended.
        stolen_share: of its processors' time, what its own host took.
        others_share: and what processes of others took.
        seconds: how long the run was.
    """

    load_before: float
    load_after: float
    stolen_share: float
    others_share: float
    seconds: float

    @property
    def trouble(self) -> str:
        """Why what was measured is to be doubted, "" if the machine was quiet."""
        return busy(self.load_before)


def busy(load: float) -> str:
    """Why a run that begins under this load is to be doubted, "" if it is not."""
    if load <= _QUIET_LOAD:
        return ""
    return (
        f"This run began under load ({load:.1f} over the last minute, where {_QUIET_LOAD:.1f} is "
        "quiet): do not rely on it."
    )


class Watch:
    """From its making to `quiet`.

    Attributes:
        load: the load average over a minute when it was made.
    """

    def __init__(self) -> None:
        self._began = time.monotonic()
        self.load = os.getloadavg()[0]
        self._before = _processors()

    def quiet(self) -> Quiet:
        """What has been seen since."""
        moved = [now - then for now, then in zip(_processors(), self._before, strict=True)]
        everything = sum(moved) or 1
        own = os.times()
        ours = (own.user + own.system + own.children_user + own.children_system) * _TICK
        busy = everything - moved[_IDLE] - moved[_IDLE + 1] - moved[_STEAL]
        return Quiet(
            self.load,
            os.getloadavg()[0],
            moved[_STEAL] / everything,
            max(busy - ours, 0) / everything,
            time.monotonic() - self._began,
        )


def _processors() -> list[int]:
    line = Path("/proc/stat").read_text().split("\n", 1)[0]
    return [int(word) for word in line.split()[1:9]]
