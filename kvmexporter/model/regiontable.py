# SPDX-License-Identifier: Apache-2.0
"""The region table of a VM: address → I/O slot, as the BPF side looks it up.

A slot, once given to a device and path, stays theirs for the VM's life: the counts
in it are theirs. Ports have an entry each; memory has one per 4 KiB page, one per
2 MiB where a window fills them, and one per 16 bytes where devices share a page.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat

from kvmexporter.model.devices import Kicks, Window
from kvmexporter.model.io import UNKNOWN_TARGET, IoTarget

# As in kvmexporter/bpf/regions.bpf.c.
PORT, PAGE, LARGE_PAGE, CHUNK = range(4)
SPLIT, MOVES, STARTS, PCI_CONFIG, VIRTIO_COMMON, VIRTIO_STATUS = 1, 2, 4, 8, 16, 32
_PAGE_SHIFT, _LARGE_SHIFT, _CHUNK_SHIFT = 12, 21, 4

MAX_ENTRIES = 8192
# Of windows over pages, and of devices over the pages they share: where none is where another
# is, there are fewer than entries.
_MAX_STEPS = 2 * MAX_ENTRIES
_MAX_SHARES = MAX_ENTRIES >> 3
# Of one device: a virtio-serial has 64 queues, of which two or four are used.
_MAX_KICKS = 16
OTHER_TARGET = IoTarget("other", "other", "unknown")
UNKNOWN_QUEUE = "unknown"

# Parts of every PC that a guest hardly touches after its boot: the first to share the last slot.
_MINOR = frozenset(
    {
        "ioport80", "ioportF0", "port92", "vmport", "kvmvapic", "i8257", "pvpanic",
        "isa-debugcon", "isa-debug-exit", "isa-parallel", "isa-fdc",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """`struct region_key` without the VM: which space, and the shifted address."""

    space: int
    page: int


@dataclass(frozen=True, slots=True)
class Entry:
    """`struct region`."""

    slot: int
    flags: int = 0
    first_kick: int = 0
    queues: int = 0


class Slots:
    """The I/O slots and doorbell counters of one VM; grows only.

    Args:
        io_slots: how many I/O slots a vCPU record has.
        kick_slots: how many doorbell counters.
    """

    def __init__(self, io_slots: int, kick_slots: int) -> None:
        self._io_slots = io_slots
        self._kick_slots = kick_slots
        self._slots: dict[IoTarget, int] = {UNKNOWN_TARGET: 0}
        self._kicks: dict[tuple[str, bool], tuple[int, int]] = {}
        self._labels: list[tuple[str, str]] = []
        self._targets: tuple[IoTarget, ...] = ()

    def slot(self, target: IoTarget) -> int:
        """The slot of a target; the last one is shared by all that come when none is left."""
        if target not in self._slots:
            if len(self._slots) >= self._io_slots - 1:
                return self._io_slots - 1
            self._slots[target] = len(self._slots)
            self._targets = ()
        return self._slots[target]

    def kicks(self, kicks: Kicks) -> tuple[int, int]:
        """The doorbell counters of a device: (the first, how many); none if none is left."""
        wanted = max(kicks.queues, 1)
        given = min(wanted, _MAX_KICKS)
        # One doorbell for all queues is counted apart from one for each of them.
        key = kicks.device, bool(kicks.queues)
        first, count = self._kicks.get(key, (len(self._labels), 0))
        if count < given and first + count == len(self._labels):
            more = min(given, self._kick_slots - first) - count
            for queue in range(count, count + more):
                number = str(queue) if kicks.queues else UNKNOWN_QUEUE
                self._labels.append(_label(kicks.device, number))
            count += more
            if count:
                self._kicks[key] = first, count
        if count and kicks.queues and (count < wanted or kicks.more):
            # The last one counts for those behind it, too.
            self._labels[first + count - 1] = _label(kicks.device, f"{count - 1}+")
        return first, count

    def targets(self) -> tuple[IoTarget, ...]:
        """Slot → what it stands for."""
        self._targets = self._targets or _targets(tuple(self._slots), self._io_slots)
        return self._targets

    def kick_labels(self) -> tuple[tuple[str, str], ...]:
        """Doorbell counter → (device, queue)."""
        return tuple(self._labels)


@lru_cache(maxsize=1024)
def _targets(named: tuple[IoTarget, ...], slots: int) -> tuple[IoTarget, ...]:
    """One object for all VMs whose slots are alike."""
    return (*named, *repeat(OTHER_TARGET, slots - len(named)))


def entries(windows: Sequence[Window], slots: Slots) -> dict[Key, Entry]:
    """The table for these windows; what is beyond MAX_ENTRIES stays unknown."""
    table: dict[Key, Entry] = {}
    by_page: defaultdict[int, list[tuple[Window, Entry]]] = defaultdict(list)
    known = [(window, _entry(window, slots)) for window in sorted(windows, key=_importance)]
    # A huge window must not leave the small ones without a place.
    known.sort(key=lambda one: one[0].last - one[0].first)
    steps = 0
    for window, entry in known:
        if window.space == "port":
            end = min(window.last, 0xFFFF, window.first + MAX_ENTRIES - len(table))
            table |= {Key(PORT, port): entry for port in range(window.first, end + 1)}
            continue
        page, last = window.first >> _PAGE_SHIFT, window.last >> _PAGE_SHIFT
        while page <= last and len(table) + len(by_page) < MAX_ENTRIES and steps < _MAX_STEPS:
            steps += 1
            address = page << _PAGE_SHIFT
            large_end = address + (1 << _LARGE_SHIFT) - 1
            fills = window.first <= address and large_end <= window.last
            if fills and not address & ((1 << _LARGE_SHIFT) - 1) and not window.kicks:
                table[Key(LARGE_PAGE, address >> _LARGE_SHIFT)] = entry
                page += 1 << (_LARGE_SHIFT - _PAGE_SHIFT)
            else:
                by_page[page].append((window, entry))
                page += 1
    shares = 0
    for page, sharing in by_page.items():
        if len(table) >= MAX_ENTRIES:
            break
        if len({entry for _, entry in sharing}) == 1:
            table[Key(PAGE, page)] = _of_queue(page, *sharing[0])
            continue
        shares += len(sharing)
        table |= _split(page, sharing if shares <= _MAX_SHARES else ())
    return dict(list(table.items())[:MAX_ENTRIES])


def _importance(window: Window) -> int:
    """Who gets a slot first, where there are more devices than slots."""
    if window.moves and window.target.path != "platform":
        return 0
    if window.target.driver in _MINOR:
        return 4
    return {"irqchip": 1, "platform": 3}.get(window.target.path, 2)


def _entry(window: Window, slots: Slots) -> Entry:
    flags = MOVES * window.moves | STARTS * window.starts
    flags |= PCI_CONFIG * window.pci_config | VIRTIO_COMMON * window.virtio_common
    flags |= VIRTIO_STATUS * window.virtio_status
    first_kick = queues = 0
    if window.kicks:
        first_kick, queues = slots.kicks(window.kicks)
    return Entry(slots.slot(window.target), flags, first_kick, queues)


def _of_queue(page: int, window: Window, entry: Entry) -> Entry:
    """A page of a window; where each queue has one for its doorbell, that queue's."""
    if not window.kicks or window.kicks.stride < 1 << _PAGE_SHIFT:
        return entry
    queue = min(page - (window.first >> _PAGE_SHIFT), entry.queues - 1)
    return Entry(entry.slot, entry.flags, entry.first_kick + max(queue, 0), entry.queues and 1)


def _split(page: int, sharing: Sequence[tuple[Window, Entry]]) -> dict[Key, Entry]:
    """A page that several devices share."""
    table = {Key(PAGE, page): Entry(0, SPLIT)}
    start, end = page << _PAGE_SHIFT, ((page + 1) << _PAGE_SHIFT) - 1
    owners: defaultdict[int, set[Entry]] = defaultdict(set)
    for window, entry in sharing:
        first = max(window.first, start) >> _CHUNK_SHIFT
        for chunk in range(first, (min(window.last, end) >> _CHUNK_SHIFT) + 1):
            owners[chunk].add(entry)
    for chunk, of_chunk in owners.items():
        if len(of_chunk) == 1:  # else nobody can say whose it is
            table[Key(CHUNK, chunk)] = of_chunk.pop()
    return table


@lru_cache(maxsize=4096)
def _label(device: str, queue: str) -> tuple[str, str]:
    """One object for all VMs that have such a device."""
    return device, queue
