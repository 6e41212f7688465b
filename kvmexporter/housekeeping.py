# SPDX-License-Identifier: Apache-2.0
"""What a server does even when nobody asks it anything."""

import gc
import logging
import threading
import time
from collections.abc import Callable

from kvmexporter.sampler import Sampler
from kvmexporter.sources import allocator

_log = logging.getLogger(__name__)

_MAX_SHARE = 0.0025  # of a processor, for VMs that BPF does not tell of by itself
_MAX_REST_SECONDS = 60.0  # whatever that takes
# Cycles that conversations left behind: samplings made them old, and what is old is hardly ever
# looked through by itself. To look through all there is takes a while with hundreds of VMs.
_ROUNDS_TO_COLLECT = 4


class Housekeeping:
    """Looks for new VMs, samples now and then even when nobody scrapes, and clears away.

    BPF keeps what ended vCPU threads had counted only until somebody reads it.

    Args:
        sampler: what to sample.
        refresh: looks for new VMs; in each round, unless there are so many that this would take
            too much.
        interval: seconds between rounds.
    """

    def __init__(self, sampler: Sampler, refresh: Callable[[], None], interval: float) -> None:
        self._sampler = sampler
        self._refresh = refresh
        self._interval = interval
        self._seen = sampler.samplings
        self._rounds = 0
        self._rest_until = 0.0
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
        while not self._stop.wait(self._interval):
            try:
                self._round()
            except Exception:  # noqa: BLE001 - the next round may do better
                _log.exception("housekeeping failed")

    def _round(self) -> None:
        self._rounds += 1
        try:
            self._look()
        except Exception:  # noqa: BLE001 - what was counted is to be read all the same
            _log.exception("looking for VMs failed")
        if self._sampler.samplings == self._seen:  # nobody else did, this interval
            self._sampler.stream(lambda _: None)
        self._seen = self._sampler.samplings
        if self._rounds % _ROUNDS_TO_COLLECT == 0:
            gc.collect()
        allocator.give_back()

    def _look(self) -> None:
        now = time.monotonic()
        if now < self._rest_until:
            return
        self._refresh()
        # Of the clock, as the opener child may be who works. Less than half an interval is no
        # reason to leave a round out.
        rest = (time.monotonic() - now) / _MAX_SHARE - self._interval / 2
        self._rest_until = now + min(rest, _MAX_REST_SECONDS)
