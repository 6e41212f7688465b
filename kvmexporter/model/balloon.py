# SPDX-License-Identifier: Apache-2.0
"""A VM's balloon: what it holds, what it should hold, and what became of it meanwhile.

Pure functions from QEMU's replies (`query-balloon`, `query-memory-size-summary`, the device's
configuration as `xp` prints it, `qom-get guest-stats`). The guest chooses its statistics and what
it says it gave, so everything is bounded.

Source: virtio 1.3, section 5.5; hw/virtio/virtio-balloon.c, QEMU 7.2 to 11.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kvmexporter.model.devices import PciDevice, Virtio
from kvmexporter.model.mtree import Region
from kvmexporter.units import balloon_pages_to_bytes

# The device's properties, each a feature that it offers.
FEATURES = ("deflate-on-oom", "free-page-hint", "free-page-reporting")

# QEMU's names without `stat-`, by what they are.
MEMORY_STATS = {
    "free-memory": "free",
    "available-memory": "available",
    "total-memory": "total",
    "disk-caches": "disk_caches",
}
COUNTER_STATS = (
    "swap-in", "swap-out", "major-faults", "minor-faults", "htlb-pgalloc", "htlb-pgfail",
    "oom-kill",
)  # fmt: skip

# Less is no gap: managers round targets, and guests with large pages give in large steps.
TOLERANCE_BYTES = 1 << 20

# A gap that has closed by this share since it was looked at is closing.
_PROGRESS = 0.1

_STAT_ABSENT = (1 << 64) - 1
_MAX_SECONDS = 1 << 40
_MMIO_CONFIG_OFFSET = 0x100
_XP = re.compile(r"\s*([0-9a-f]{1,16}): 0x([0-9a-f]{8}) 0x([0-9a-f]{8})\s*")


@dataclass(frozen=True, slots=True)
class BalloonDevice:
    """The one that a VM can have.

    Attributes:
        path: its QOM path.
        config_address: where its configuration is in the guest's memory; None while the guest
            has not mapped it.
        function: the PCI function that answers there; None on virtio-mmio, where none can move.
    """

    path: str
    config_address: int | None
    function: PciDevice | None = None


@dataclass(frozen=True, slots=True)
class BalloonHistory:
    """What became of a balloon from one visit to the next; times are seconds, CLOCK_MONOTONIC.

    Attributes:
        inflations: visits that found the guest with less memory than the one before.
        deflations: those that found it with more.
        inflated_bytes: how much less, all together.
        deflated_bytes: how much more.
        short_since: since when the guest holds more than it should, None if it does not.
        stuck_since: since when that has not got noticeably less.
        stuck_gap_bytes: how much it was then.
        swapped_at: when the guest was last seen to have swapped, None if never.
        swapped_bytes: how much then, in and out together, since the visit before.
        seen: when this was.
    """

    inflations: int = 0
    deflations: int = 0
    inflated_bytes: int = 0
    deflated_bytes: int = 0
    short_since: float | None = None
    stuck_since: float | None = None
    stuck_gap_bytes: int = 0
    swapped_at: float | None = None
    swapped_bytes: int = 0
    seen: float = 0.0


@dataclass(frozen=True, slots=True)
class Balloon:
    """A balloon as one visit found it.

    Attributes:
        device: where it is.
        actual_bytes: the memory that the guest has: all of it less what is in the balloon.
        max_bytes: what it has with an empty balloon.
        target_bytes: what it should have; None if that could not be read.
        offered: feature → whether the device offers it; empty if not known.
        driven: whether a driver in the guest has taken it; None if not known.
        stats: the guest's own numbers, by QEMU's names without `stat-`; bytes and counts.
        stats_at: when the guest gave them, seconds since the epoch by the host's clock; 0: never.
        polling_seconds: how often it is asked for them, 0: never; None if not known.
        asked: whether the VMM has told this; else it is what libvirt keeps of it, and neither
            target nor the guest's numbers are known.
        history: what became of it.
    """

    device: BalloonDevice
    actual_bytes: int
    max_bytes: int
    target_bytes: int | None = None
    offered: Mapping[str, bool] = field(default_factory=dict)
    driven: bool | None = None
    stats: Mapping[str, int] = field(default_factory=dict)
    stats_at: int = 0
    polling_seconds: int | None = None
    asked: bool = True
    history: BalloonHistory = field(default_factory=BalloonHistory)

    @property
    def held_bytes(self) -> int:
        """What is in the balloon."""
        return max(self.max_bytes - self.actual_bytes, 0)

    @property
    def gap_bytes(self) -> int:
        """How much more the guest has than it should; 0 if that is not known, or next to none."""
        if self.target_bytes is None:
            return 0
        gap = self.actual_bytes - self.target_bytes
        return gap if gap >= TOLERANCE_BYTES else 0

    def after(self, before: "Balloon | None", now: float) -> "Balloon":
        """The same with its history.

        Args:
            before: the balloon of that VM at the last visit, None if there was none.
            now: seconds, CLOCK_MONOTONIC.
        """
        if before is None or before.device.path != self.device.path:
            gap = self.gap_bytes
            since = now if gap else None
            fresh = BalloonHistory(
                short_since=since, stuck_since=since, stuck_gap_bytes=gap, seen=now
            )
            return replace(self, history=fresh)
        history = replace(before.history, seen=now)
        less = before.actual_bytes - self.actual_bytes
        if less > 0:
            history = replace(
                history,
                inflations=history.inflations + 1,
                inflated_bytes=history.inflated_bytes + less,
            )
        elif less < 0:
            history = replace(
                history,
                deflations=history.deflations + 1,
                deflated_bytes=history.deflated_bytes - less,
            )
        return replace(self, history=_with_swapping(self._with_gap(history, now), before, self))

    def _with_gap(self, history: BalloonHistory, now: float) -> BalloonHistory:
        gap = self.gap_bytes
        if not gap:
            return replace(history, short_since=None, stuck_since=None, stuck_gap_bytes=0)
        short_since = now if history.short_since is None else history.short_since
        stuck_since, stuck_gap = history.stuck_since, history.stuck_gap_bytes
        # A gap that has grown is a new target.
        if stuck_since is None or gap < stuck_gap * (1 - _PROGRESS) or gap > stuck_gap:
            stuck_since, stuck_gap = now, gap
        return replace(
            history, short_since=short_since, stuck_since=stuck_since, stuck_gap_bytes=stuck_gap
        )


def _with_swapping(history: BalloonHistory, before: Balloon, after: Balloon) -> BalloonHistory:
    moved = 0
    for name in ("swap-in", "swap-out"):
        if name in before.stats and name in after.stats:
            moved += max(after.stats[name] - before.stats[name], 0)
    return replace(history, swapped_at=history.seen, swapped_bytes=moved) if moved else history


def locate(
    regions: Sequence[Region],
    types: Mapping[str, str],
    virtio: Sequence[Virtio],
    pci: Sequence[PciDevice],
) -> BalloonDevice | None:
    """Find the VM's balloon.

    Args:
        regions: of the guest's address spaces, as they are mapped now.
        types: QOM path → type.
        virtio: the virtio devices, of QEMUs that tell them.
        pci: the PCI functions.
    """
    transports = {one.path: one.transport for one in virtio if one.name == "virtio-balloon"}
    paths = [path for path, kind in types.items() if kind.startswith("virtio-balloon")]
    for path in [*transports, *paths]:
        transport = transports.get(path, "")
        for region in regions:
            if region.space != "memory" or region.offset:
                continue
            if region.owner == path and region.name == "virtio-pci-device-virtio-balloon":
                function = function_at(region.first, pci)
                return BalloonDevice(path, region.first if function else None, function)
            if transport and region.owner == transport:
                return BalloonDevice(path, region.first + _MMIO_CONFIG_OFFSET)
        return BalloonDevice(path, None)
    return None


def function_at(address: int, pci: Sequence[PciDevice]) -> PciDevice | None:
    """The PCI function in one of whose memory BARs an address is; None if it is in none's."""
    for device in pci:
        if any(kind == "memory" and first <= address <= last for kind, first, last in device.bars):
            return device
    return None


def max_bytes(summary: Mapping[str, Any]) -> int:
    """All memory of a VM, from `query-memory-size-summary`."""
    return max(int(summary["base-memory"]) + int(summary.get("plugged-memory", 0)), 0)


def config_bytes(text: str, address: int, whole: int) -> tuple[int, int] | None:
    """What the guest should have and has, from the device's own configuration.

    Args:
        text: what `xp /2wx ADDRESS` printed: two numbers of pages, those that the balloon should
            hold (`num_pages`) and those that it does (`actual`).
        address: where that was to be read.
        whole: all memory of the VM, bytes.

    Returns:
        (target, actual) in bytes; None if the text says nothing of the kind.
    """
    found = _XP.fullmatch(text)
    if not found or int(found[1], 16) != address:
        return None
    target, actual = (whole - balloon_pages_to_bytes(int(word, 16)) for word in found.groups()[1:])
    return (max(target, 0), actual) if actual >= 0 else None


def stats(reply: Mapping[str, Any]) -> tuple[dict[str, int], int]:
    """The guest's numbers and when it gave them, from `qom-get guest-stats`.

    Returns:
        Name without `stat-` → value, those left out that the guest did not give; seconds since
        the epoch, 0: never.
    """
    given_at = min(max(int(reply.get("last-update", 0)), 0), _MAX_SECONDS)
    if not given_at:
        return {}, 0
    numbers = {}
    for name in (*MEMORY_STATS, *COUNTER_STATS):
        value = reply["stats"].get(f"stat-{name}")
        if isinstance(value, int) and 0 <= value < _STAT_ABSENT:
            numbers[name] = value
    return numbers, given_at
