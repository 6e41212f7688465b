# SPDX-License-Identifier: Apache-2.0
"""Every change of the clocksource, those between two samples too where the log shows them.

Reads sysfs and, where it may, the kernel's log.
"""

from collections import Counter

from kvmexporter.errors import Unavailable
from kvmexporter.model.clock_messages import MarkedUnstable, Switched, TscFrequency, parse
from kvmexporter.model.clocks import ClocksourceHistory, Clocksources
from kvmexporter.sources.kernellog import KernelLog
from kvmexporter.sources.sysfs import Sysfs


class ClocksourceWatch:
    """Counts from its making on; owns the log.

    Args:
        sysfs: where the clocksource is seen.
        log: the kernel's log, or why there is none.
    """

    def __init__(self, sysfs: Sysfs, log: KernelLog | Unavailable) -> None:
        self._sysfs = sysfs
        self._log = log
        self._current = ""
        self._changes: Counter[tuple[str, str]] = Counter()
        self._unstable: dict[str, str] = {}
        self.tsc_hz: int | None = None
        # What the log has of the time before is no change, but tells of the TSC.
        self._read_log()
        self._changes.clear()
        try:
            self._current = sysfs.clocksources().current
        except Unavailable:
            self._current = ""

    def sample(self) -> Clocksources:
        """The clocksources now, after counting what happened since the last call.

        Raises:
            Unavailable: the kernel does not show them.
        """
        self._read_log()
        # After the log: the kernel logs a switch before sysfs shows it.
        now = self._sysfs.clocksources()
        self._switched(now.current)
        return now

    def history(self) -> ClocksourceHistory:
        """What happened so far."""
        return ClocksourceHistory(
            dict(self._changes),
            dict(self._unstable),
            "kernel_log" if isinstance(self._log, KernelLog) else "sampling",
        )

    def close(self) -> None:
        """Close the log."""
        if isinstance(self._log, KernelLog):
            self._log.close()

    def _read_log(self) -> None:
        if not isinstance(self._log, KernelLog):
            return
        for text in self._log.read():
            match parse(text):
                case Switched(clocksource):
                    self._switched(clocksource)
                case MarkedUnstable(clocksource, reason):
                    self._unstable[clocksource] = reason or self._unstable.get(clocksource, "")
                case TscFrequency(hz):
                    self.tsc_hz = hz

    def _switched(self, to: str) -> None:
        """Count a change, once, whichever of log and sysfs tells it first."""
        if self._current and to != self._current:
            self._changes[self._current, to] += 1
        self._current = to
