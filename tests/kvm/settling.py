# SPDX-License-Identifier: Apache-2.0
"""By how much an exporter's counts moved while a guest worked, once they have come to rest."""

import time
from collections import Counter
from collections.abc import Callable

from tests.kvm.exporter import Exporter, Scrape

Key = tuple[str, ...]
Counts = Callable[[Scrape], Counter[Key]]
"""What of a scrape is looked at."""

# Where the host's KVM emulates every instruction, a kernel-handled write is settled by the
# next event or after a second.
QUIET_SECONDS = 1.2
SETTLE_SECONDS = 20.0


def settled(exporter: Exporter, counts: Counts) -> Counter[Key]:
    """The counts once nothing is pending any more: longer without a change than that takes."""
    previous, since = counts(exporter.scrape()), time.monotonic()
    deadline = since + SETTLE_SECONDS
    while time.monotonic() - since < QUIET_SECONDS:
        time.sleep(QUIET_SECONDS / 4)
        current = counts(exporter.scrape())
        if current != previous:
            previous, since = current, time.monotonic()
        assert time.monotonic() < deadline, "the idle guest's counters move"
    return previous


def moved(exporter: Exporter, counts: Counts, work: Callable[[], object]) -> dict[Key, int]:
    """What the work added, by key; what it did not move is left out."""
    before = counts(exporter.scrape())
    work()
    after = settled(exporter, counts)
    after.subtract(before)
    return {key: value for key, value in after.items() if value}
