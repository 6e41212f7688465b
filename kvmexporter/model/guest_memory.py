# SPDX-License-Identifier: Apache-2.0
"""This system's memory as a guest: its balloon, how hard memory is to get, how broken up it is."""

from collections.abc import Mapping
from dataclasses import dataclass

from kvmexporter.units import us_to_ns

# A huge page of 2 MiB is 2^9 pages of 4 KiB.
HUGE_ORDER = 9

# Of /proc/vmstat: what is shown.
COUNTERS = (
    "balloon_inflate", "balloon_deflate", "balloon_migrate", "pswpin", "pswpout", "oom_kill",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Pressure:
    """For how long tasks waited for memory, /proc/pressure/memory.

    Attributes:
        stalled_ns: `some` (at least one task) and `full` (all of them) → nanoseconds since boot.
        recent: the same → share of the last minute.
    """

    stalled_ns: Mapping[str, int]
    recent: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class GuestMemory:
    """A guest's memory at one moment; what its kernel does not tell is None or missing.

    Attributes:
        counters: of `COUNTERS`, pages but for the last.
        pressure: how long tasks waited.
        free_pages: all that is free.
        usable_pages: those of them that are in pieces of a huge page or more.
        page_size: bytes.
    """

    counters: Mapping[str, int]
    pressure: Pressure | None
    free_pages: int
    usable_pages: int
    page_size: int

    @property
    def unusable(self) -> float | None:
        """Share of free memory that no huge page can be made of; None if nothing is free."""
        return 1 - self.usable_pages / self.free_pages if self.free_pages else None

    @property
    def in_balloon(self) -> int:
        """What the balloon holds, bytes."""
        inflated = self.counters.get("balloon_inflate", 0)
        return max(inflated - self.counters.get("balloon_deflate", 0), 0) * self.page_size


def vmstat(text: str) -> dict[str, int]:
    """The counters of /proc/vmstat that are shown."""
    result = {}
    for line in text.splitlines():
        name, _, value = line.partition(" ")
        if name in COUNTERS and value.isdecimal():
            result[name] = int(value)
    return result


def pressure(text: str) -> Pressure | None:
    """From /proc/pressure/memory (Documentation/accounting/psi.rst); None if it says nothing."""
    stalled: dict[str, int] = {}
    recent: dict[str, float] = {}
    for line in text.splitlines():
        kind, *fields = line.split()
        values = dict(field.partition("=")[::2] for field in fields)
        if kind in ("some", "full") and values.get("total", "").isdecimal():
            stalled[kind] = us_to_ns(int(values["total"]))
            try:
                recent[kind] = float(values.get("avg60", "0")) / 100
            except ValueError:
                recent[kind] = 0.0
    return Pressure(stalled, recent) if stalled else None


def free_blocks(text: str) -> tuple[int, int]:
    """Pages that are free, and those of them in blocks of a huge page or more.

    Args:
        text: /proc/buddyinfo: for each zone the number of free blocks of 2^0, 2^1, … pages.
    """
    free = usable = 0
    for line in text.splitlines():
        _, zone, counts = line.partition("zone")
        if not zone:
            continue
        for order, blocks in enumerate(counts.split()[1:]):
            pages = int(blocks) << order if blocks.isdecimal() else 0
            free += pages
            usable += pages if order >= HUGE_ORDER else 0
    return free, usable


def guest_memory(vmstat_text: str, psi: str, buddyinfo: str, page_size: int) -> GuestMemory:
    """All of it, from the texts of the three files; "" for one that is not there."""
    free, usable = free_blocks(buddyinfo)
    return GuestMemory(vmstat(vmstat_text), pressure(psi), free, usable, page_size)
