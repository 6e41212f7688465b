# SPDX-License-Identifier: Apache-2.0
"""The clocks of the system that the exporter runs on, read together.

Reads sysfs, the kernel's log, adjtimex(2) and clock_gettime(2), and sleeps in a timerfd for steps:
about a millisecond a sample.
"""

from kvmexporter.errors import Unavailable
from kvmexporter.model.clocks import Clocksources, Timex, tsc_features
from kvmexporter.model.own_clock import OwnClock
from kvmexporter.sources.clocks import read_cost_ns
from kvmexporter.sources.clocksource_watch import ClocksourceWatch
from kvmexporter.sources.procfs import Procfs
from kvmexporter.sources.system import System
from kvmexporter.sources.timex import TimexReader


class OwnClockReader:
    """Reads them, and watches them from its making on: privileges may be given up after that.

    Args:
        system: whose they are.
        procfs: where its processor's features are seen.
    """

    def __init__(self, system: System, procfs: Procfs) -> None:
        self._system = system
        self._procfs = procfs
        self._timex = TimexReader(system.adjtimex)
        self._watch = ClocksourceWatch(system.sysfs, system.kernel_log())
        self._steps = system.step_watcher()

    def close(self) -> None:
        """End the watchers."""
        self._watch.close()
        if self._steps:
            self._steps.close()

    @property
    def tsc_hz(self) -> int | None:
        """How fast the kernel's log says that the TSC runs."""
        return self._watch.tsc_hz

    def sample(self) -> OwnClock:
        """Read all of it; what one of them cannot give is left out."""
        try:
            clocksources: Clocksources | None = self._watch.sample()
        except Unavailable:
            clocksources = None
        try:
            timex: Timex | None = self._timex.sample()
        except Unavailable:
            timex = None
        return OwnClock(
            clocksources=clocksources,
            history=self._watch.history(),
            tsc_features=tsc_features(self._procfs.cpu_flags()),
            timex=timex,
            rejected=self._timex.rejected,
            steps=self._steps.steps() if self._steps else None,
            read_ns=read_cost_ns(self._system.read_clock),
        )
