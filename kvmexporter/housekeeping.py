# SPDX-License-Identifier: Apache-2.0
"""What a server does even when nobody asks it anything."""

import gc
import logging
import threading
from collections.abc import Callable

from kvmexporter.sampler import Sampler

_log = logging.getLogger(__name__)

# Cycles that conversations left behind: samplings made them old, and what is old is hardly ever
# looked through by itself. To look through all there is takes a while with hundreds of VMs.
_ROUNDS_TO_COLLECT = 4


class Housekeeping:
    """Looks for new VMs, samples now and then even when nobody scrapes, and clears away.

    BPF keeps what ended vCPU threads had counted only until somebody reads it.

    Args:
        sampler: what to sample.
        refresh: looks for new VMs.
        interval: seconds between rounds.
    """

    def __init__(self, sampler: Sampler, refresh: Callable[[], None], interval: float) -> None:
        self._sampler = sampler
        self._refresh = refresh
        self._interval = interval
        self._seen = sampler.samplings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Begin; the first round comes after one interval."""
        self._thread.start()

    def close(self) -> None:
        """End, after the round that may be under way."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        rounds = 0
        while not self._stop.wait(self._interval):
            rounds += 1
            try:
                self._refresh()
                if self._sampler.samplings == self._seen:  # nobody else did, this interval
                    self._sampler.stream(lambda _: None)
                self._seen = self._sampler.samplings
                if rounds % _ROUNDS_TO_COLLECT == 0:
                    gc.collect()
            except Exception:  # noqa: BLE001 - the next round may do better
                _log.exception("housekeeping failed")
