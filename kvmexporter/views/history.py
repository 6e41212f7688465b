# SPDX-License-Identifier: Apache-2.0
"""The last minute of what is drawn as lines: totals of each VM, and of each I/O path.

Keeps numbers, not snapshots: about half a kilobyte a line.
"""

import threading
from array import array
from collections import deque
from collections.abc import Iterable

from kvmexporter.sampler import Snapshot
from kvmexporter.views import activity
from kvmexporter.views.activity import Activity, activities

Key = tuple[str, ...]
"""A VM's name and what is drawn of it; an I/O path's device, driver and path follow."""

EXITS, IO, USERSPACE = "exits", "io", "userspace"
WINDOW_SECONDS = 60.0
MOST_POINTS = 61
_SLACK = 0.8


class History:
    """Totals over time; may be read and written by several threads.

    Args:
        least_seconds: between two points; snapshots that come sooner are left out.
        most_points: that are kept.
    """

    def __init__(self, least_seconds: float = 1.0, most_points: int = MOST_POINTS) -> None:
        self._least = least_seconds * _SLACK
        self._lock = threading.Lock()
        self._times: deque[float] = deque(maxlen=most_points)
        self._most = most_points
        # As long as the times, or shorter where it began later; ends with the last one.
        self._totals: dict[Key, array[float]] = {}

    def observe(self, snapshot: Snapshot, done: Iterable[Activity] | None = None) -> None:
        """Add a point.

        Args:
            snapshot: of that moment.
            done: its activities since counting began, where somebody has them already.
        """
        with self._lock:
            if self._times and snapshot.monotonic - self._times[-1] < self._least:
                return
            totals = dict(_totals(activities(snapshot) if done is None else done))
            began = 0.0 if self._times else None
            self._times.append(snapshot.monotonic)
            kept = {}
            for key, total in totals.items():
                line = self._totals.get(key)
                if line is None or line[-1] > total:  # began, or began again
                    line = array("d") if began is None else array("d", [began])
                line.append(total)
                if len(line) > self._most:
                    del line[0]
                kept[key] = line
            self._totals = kept

    def points(self, *key: str) -> tuple[tuple[float, float], ...]:
        """Seconds before the last point → events a second until then; oldest first.

        Empty if nothing is known yet.
        """
        with self._lock:
            line = self._totals.get(key)
            if line is None:
                return ()
            times = list(self._times)[-len(line) :]
            now = times[-1]
            return tuple(
                (now - times[i], (line[i] - line[i - 1]) / (times[i] - times[i - 1]))
                for i in range(1, len(line))
                if now - times[i - 1] <= WINDOW_SECONDS + self._least
            )

    def latest(self, *key: str) -> float | None:
        """Events a second between the last two points; None if it has not two."""
        points = self.points(*key)
        return points[-1][1] if points else None

    @property
    def seconds(self) -> float:
        """From the first to the last point."""
        with self._lock:
            return self._times[-1] - self._times[0] if self._times else 0.0


def _totals(done: Iterable[Activity]) -> Iterable[tuple[Key, float]]:
    for one in done:
        if not one.uncounted.exits:
            yield (one.vm.name, EXITS), one.all_exits
            yield (one.vm.name, USERSPACE), one.total(activity.USERSPACE)
        if not one.uncounted.io:
            yield (one.vm.name, IO), one.total(activity.IO_EXITS)
        for path in one.io:
            yield (one.vm.name, IO, path.device, path.driver, path.path), path.total
