# SPDX-License-Identifier: Apache-2.0
"""The region tables of all VMs in BPF: written from here alone.

A refresh writes what differs: about 2 µs an entry.
"""

import hashlib
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from kvmexporter.errors import KvmExporterError
from kvmexporter.model.regiontable import PAGE, PORT, Entry, Key
from kvmexporter.sources.bpfmaps import BpfMap

_KEY = struct.Struct("QII")  # struct region_key
_ENTRY = struct.Struct("IIII")  # struct region
_EPOCH = struct.Struct("II")  # struct vm_epoch
_GENERATION = struct.Struct("II")  # struct region_generation
_U32 = struct.Struct("I")
_COUNT = struct.Struct("Q")
_NO_PLACE = 0  # of VMs that are not known yet


@dataclass(frozen=True, slots=True)
class Epoch:
    """How often a guest may have moved its PCI devices, and started virtio devices."""

    pci: int
    virtio: int


@dataclass(frozen=True, slots=True)
class _Written:
    """What the map holds of a VM, as bytes: hundreds of entries, seldom looked at.

    Attributes:
        entries: how many.
        digest: of all keys and values.
        packed: all keys, then all values, compressed: a few kilobytes.
    """

    entries: int
    digest: bytes
    packed: bytes

    @classmethod
    def of(cls, rows: Mapping[bytes, bytes]) -> Self:
        """Keep these."""
        data = b"".join((*rows, *rows.values()))
        return cls(len(rows), _digest(data), zlib.compress(data))

    def is_of(self, rows: Mapping[bytes, bytes]) -> bool:
        """Whether it is these, in this order."""
        return self.digest == _digest(b"".join((*rows, *rows.values())))

    def rows(self) -> dict[bytes, bytes]:
        """Key → value."""
        data = zlib.decompress(self.packed)
        end = self.entries * _KEY.size
        keys = (data[at : at + _KEY.size] for at in range(0, end, _KEY.size))
        values = (data[at : at + _ENTRY.size] for at in range(end, len(data), _ENTRY.size))
        return dict(zip(keys, values, strict=True))


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


class RegionTables:
    """Writes the maps; not safe to use from several threads.

    Args:
        maps: of the loaded programs, by name.
    """

    def __init__(self, maps: Mapping[str, BpfMap]) -> None:
        self._regions = maps["regions"]
        self._generations = maps["region_generations"]
        self._indexes = maps["vm_indexes"]
        self._epochs = maps["vm_epochs"]
        self._confirmed = maps["vm_confirmed"]
        self._unknown = maps["unknown_addresses"]
        self._met = maps["met"]
        self._written: dict[int, _Written] = {}
        self._confirmed_of: dict[int, bytes] = {}
        self._index: dict[int, int] = {}
        self._unused = iter(range(1, self._epochs.layout.max_entries))
        self._free: list[int] = []
        self._told = 0

    def add(self, pid: int) -> None:
        """Make a VM known, with nothing in its table; without effect if there is no room."""
        if pid in self._index:
            return
        index = self._free.pop() if self._free else next(self._unused, None)
        if index is None:
            return
        self._index[pid] = index
        self._written[pid] = _Written.of({})
        # What an earlier VM left here must not be confirmed for this one.
        now = self._epoch_at(index)
        stale = Epoch(now.pci - 1 & 0xFFFFFFFF, now.virtio - 1 & 0xFFFFFFFF)
        self._confirm(pid, _EPOCH.pack(stale.pci, stale.virtio))
        self._indexes.set(_U32.pack(pid), _U32.pack(index))
        self._move_generations(index, _NO_PLACE)

    def remove(self, pid: int) -> None:
        """Forget a VM and everything in its table."""
        if pid not in self._index:
            return
        self._indexes.delete(_U32.pack(pid))
        for key in self._written.pop(pid).rows():
            self._regions.delete(key)
        index = self._index.pop(pid)
        del self._confirmed_of[pid]
        self._free.append(index)
        self._move_generations(index)

    def epoch(self, pid: int) -> Epoch | None:
        """Where the VM's guest is now; None if the VM is not known here."""
        index = self._index.get(pid)
        return None if index is None else self._epoch_at(index)

    def is_confirmed(self, pid: int) -> bool:
        """Whether the table still holds for every region."""
        index = self._index.get(pid)
        if index is None:
            return False
        return self._epochs.get(_U32.pack(index)) == self._confirmed_of[pid]

    def write(self, pid: int, table: Mapping[Key, Entry], epoch: Epoch) -> None:
        """Replace a VM's table, and confirm it for the epoch at which it was asked for."""
        before = self._written.get(pid)
        if before is None:
            return
        rows = {
            _KEY.pack(key.page, pid, key.space): _ENTRY.pack(
                entry.slot, entry.flags, entry.first_kick, entry.queues
            )
            for key, entry in table.items()
        }
        changed = False
        try:
            if not before.is_of(rows):
                written = before.rows()
                try:
                    changed = self._replace(written, rows)
                except KvmExporterError:  # with the map full, part of it has been written
                    changed = True
                    raise
                finally:
                    self._written[pid] = _Written.of(written)
            value = _EPOCH.pack(epoch.pci, epoch.virtio)
            if self._confirmed_of[pid] != value:
                self._confirm(pid, value)
                changed = True
        finally:
            if changed:
                self._move_generations(self._index[pid])

    def _replace(self, written: dict[bytes, bytes], rows: Mapping[bytes, bytes]) -> bool:
        """Make the map hold these rows and no others; `written` follows what it holds."""
        changed = False
        for key in [key for key in written if key not in rows]:
            self._regions.delete(key)
            del written[key]
            changed = True
        for key, value in rows.items():
            if written.get(key) != value:
                self._regions.set(key, value)
                written[key] = value
                changed = True
        return changed

    def met(self) -> set[int]:
        """Processes whose vCPU threads were met since this was asked last."""
        pids = set()
        while (value := self._met.pop()) is not None:
            pids.add(_U32.unpack(value)[0])
        return pids

    def entries(self) -> int:
        """Entries in all tables."""
        return sum(written.entries for written in self._written.values())

    def unknown_addresses(self) -> dict[int, dict[tuple[str, int], int]]:
        """Process → (`port` or `memory`, address or page's address) → accesses: a sample."""
        result: dict[int, dict[tuple[str, int], int]] = {}
        for key, value in self._unknown.items():
            page, pid, space = _KEY.unpack(key)
            if space in (PORT, PAGE):
                if self._regions.get(key) is not None:
                    continue  # touched before the VMM was asked
                name = ("port", page) if space == PORT else ("memory", page << 12)
                result.setdefault(pid, {})[name] = _COUNT.unpack(value)[0]
        return result

    def _confirm(self, pid: int, epoch: bytes) -> None:
        self._confirmed.set(_U32.pack(self._index[pid]), epoch)
        self._confirmed_of[pid] = epoch

    def _epoch_at(self, index: int) -> Epoch:
        return Epoch(*_EPOCH.unpack(self._epochs.get(_U32.pack(index)) or bytes(_EPOCH.size)))

    def _move_generations(self, *indexes: int) -> None:
        """Have BPF look again at what is known of the VMs at these places."""
        self._told += 1
        for index in indexes:
            self._generations.set(_U32.pack(index), _GENERATION.pack(self._told, 0))
