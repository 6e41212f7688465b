# SPDX-License-Identifier: Apache-2.0
"""Counts of KVM's events that owe nothing to the exporter: the kernel's own.

Two sources, both exact and both counted in the kernel:

- histogram triggers of tracefs (Documentation/trace/histogram.rst): every event of a tracepoint,
  by any of its fields.  Nothing is sampled; what does not fit into the table is counted as
  dropped, and that is an error here.
- debugfs, `/sys/kernel/debug/kvm/<pid>-<fd>/`: KVM's statistics of one VM.  `mmu_rmaps_stat` there
  is never opened: reading it takes the MMU lock.
"""

import itertools
import re
from collections.abc import Collection
from pathlib import Path
from types import TracebackType

_TRACING = Path("/sys/kernel/tracing")
_DEBUGFS = Path("/sys/kernel/debug/kvm")
_ENTRIES = 16384
_TRIES = 20


class WitnessError(Exception):
    """A count is not to be had, or not to be trusted."""


class EventCount:
    """Counts one tracepoint from `with` on, by the values of some of its fields.

        with EventCount("kvm_exit", "common_pid", "exit_reason") as exits:
            ...
        exits.read()   # {(1234, 120): 17, ...}

    Args:
        event: name below `events/kvm`, or with its system: "sched/sched_switch".
        keys: fields of the event's `format`, `common_pid` for the thread.
        condition: a filter in the kernel's language ("common_pid == 17"), or nothing.
    """

    _numbers = itertools.count(1)

    def __init__(self, event: str, *keys: str, condition: str = "") -> None:
        self._event = event if "/" in event else f"kvm/{event}"
        self._trigger = f"hist:keys={','.join(keys)}:size={_ENTRIES}"
        self._condition = f" if {condition}" if condition else ""
        # An instance of its own, so that two counts of one event do not meet.
        self._instance = _TRACING / "instances" / f"witness{next(self._numbers)}"
        self._last: dict[tuple[int, ...], int] = {}

    @property
    def _directory(self) -> Path:
        return self._instance / "events" / self._event

    def __enter__(self) -> "EventCount":
        self._instance.mkdir()
        if not self._directory.exists():
            self._instance.rmdir()
            raise WitnessError(f"this kernel has no tracepoint {self._event}")
        (self._directory / "trigger").write_text(self._trigger + self._condition)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._last = self._read()
        finally:
            (self._directory / "trigger").write_text("!" + self._trigger + self._condition)
            self._instance.rmdir()

    def read(self) -> dict[tuple[int, ...], int]:
        """Return the counts so far (after `with`: those at its end), by the keys' values."""
        return self._read() if self._instance.exists() else dict(self._last)

    def total(self, tids: Collection[int] | None = None) -> int:
        """Return the sum of the counts, of these threads alone if any (`common_pid` first)."""
        return sum(count for key, count in self.read().items() if tids is None or key[0] in tids)

    def _read(self) -> dict[tuple[int, ...], int]:
        # The kernel writes the keys first and the sum last: an event in between is in one only.
        for _ in range(_TRIES - 1):
            try:
                return self._read_once()
            except WitnessError:
                continue
        return self._read_once()

    def _read_once(self) -> dict[tuple[int, ...], int]:
        text = (self._directory / "hist").read_text()
        counts: dict[tuple[int, ...], int] = {}
        for keys, hits in re.findall(r"^\{ (.*?) \} hitcount: +(\d+)", text, re.MULTILINE):
            values = tuple(int(value, 0) for value in re.findall(r": +(-?\w+)", keys))
            counts[values] = int(hits)
        totals = dict(re.findall(r"^ +(Hits|Dropped): (\d+)", text, re.MULTILINE))
        if int(totals["Dropped"]) or int(totals["Hits"]) != sum(counts.values()):
            raise WitnessError(f"{self._event}: {totals}, but {sum(counts.values())} counted")
        return counts


def kvm_statistics(pid: int) -> dict[str, int]:
    """Return KVM's own counters of the VM that a process runs: name → value.

    Raises:
        WitnessError: the process has no VM, or more than one.
    """
    found = list(_DEBUGFS.glob(f"{pid}-*"))
    if len(found) != 1:
        raise WitnessError(f"{_DEBUGFS} has {len(found)} VMs of process {pid}")
    statistics: dict[str, int] = {}
    for path in found[0].iterdir():
        if path.is_file() and path.name != "mmu_rmaps_stat":
            text = path.read_text().strip()
            if re.fullmatch(r"-?\d+", text):
                statistics[path.name] = int(text)
    return statistics
