# SPDX-License-Identifier: Apache-2.0
"""Memory of a host and of the processes that run its VMs; all amounts are bytes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from kvmexporter.units import kib_to_bytes

# Kind → line of /proc/PID/status (proc(5)); the first three together are what is resident.
_KINDS = {
    "anonymous": b"RssAnon",
    "file": b"RssFile",
    "shared": b"RssShmem",
    "swapped": b"VmSwap",
    "hugetlb": b"HugetlbPages",
}
_KIND_LINES = re.compile(
    rb"^(RssAnon|RssFile|RssShmem|VmSwap|HugetlbPages):[ \t]*([0-9]+)[ \t]+kB$", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """The memory of a VM's process.

    Attributes:
        kinds: `anonymous`, `file`, `shared` (resident, by what it is backed with), `swapped`,
            `hugetlb` (from the pool of huge pages, not in the former); those the kernel tells.
        merged: what KSM found to be the same as other pages; None if the kernel does not tell.
    """

    kinds: Mapping[str, int]
    merged: int | None = None


@dataclass(frozen=True, slots=True)
class Ksm:
    """What the kernel's same-page merging does, `/sys/kernel/mm/ksm`.

    Attributes:
        run: 0: stopped, 1: it merges, 2: stopped and all that was merged taken apart.
        shared: pages that others are merged into.
        sharing: pages that were merged into those and cost nothing any more.
        unshared: pages that were looked at and are unique.
        volatile: pages that change too quickly to be merged.
        profit: what is saved less what KSM's own records take; None before Linux 6.1.
        full_scans: how often all of it was looked at.
    """

    run: int
    shared: int
    sharing: int
    unshared: int
    volatile: int
    profit: int | None
    full_scans: int

    @property
    def saved(self) -> int:
        """What it saves, its own records taken off where the kernel tells them; may be negative."""
        return self.sharing if self.profit is None else self.profit


@dataclass(frozen=True, slots=True)
class HostMemory:
    """What a host has, from /proc/meminfo, and what it has promised.

    Attributes:
        total: memory.
        available: what can be had without swapping.
        swap: swap space.
        promised: what its VMs can take at most, of those that tell.
        unknown: VMs that do not.
        ballooned: what their balloons hold now.
    """

    total: int
    available: int
    swap: int
    promised: int = 0
    unknown: int = 0
    ballooned: int = 0


def kib_fields(text: str) -> dict[str, int]:
    """Name → bytes of the lines of /proc/meminfo or /proc/PID/status that are in kB."""
    fields = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        words = value.split()
        if len(words) == 2 and words[1] == "kB" and words[0].isdecimal():
            fields[name] = kib_to_bytes(int(words[0]))
    return fields


def process_kinds(status: bytes) -> dict[str, int]:
    """Kind → bytes, from /proc/PID/status."""
    found = dict(_KIND_LINES.findall(status))
    return {kind: kib_to_bytes(int(found[line])) for kind, line in _KINDS.items() if line in found}


def host_memory(meminfo: str) -> HostMemory:
    """What a host has, from /proc/meminfo."""
    fields = kib_fields(meminfo)
    return HostMemory(
        fields.get("MemTotal", 0), fields.get("MemAvailable", 0), fields.get("SwapTotal", 0)
    )


def merged_bytes(ksm_stat: str, page_size: int) -> int | None:
    """What KSM merged of a process, from /proc/PID/ksm_stat; None if that does not say."""
    for line in ksm_stat.splitlines():
        name, _, value = line.partition(" ")
        if name == "ksm_merging_pages" and value.strip().isdecimal():
            return int(value) * page_size
    return None


def ksm(numbers: Mapping[str, int], page_size: int) -> Ksm | None:
    """KSM's state from the files of its directory; None without them."""
    if "run" not in numbers:
        return None
    amounts = {
        name: numbers.get(f"pages_{name}", 0) * page_size
        for name in ("shared", "sharing", "unshared", "volatile")
    }
    return Ksm(
        run=numbers["run"],
        **amounts,
        profit=numbers.get("general_profit"),
        full_scans=numbers.get("full_scans", 0),
    )
