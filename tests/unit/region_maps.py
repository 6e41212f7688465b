# SPDX-License-Identifier: Apache-2.0
"""The BPF maps of region tables, what user space writes and what BPF does to them."""

import struct
from collections.abc import Callable
from dataclasses import replace

from kvmexporter.model.regiontable import PAGE, Entry, Key
from kvmexporter.sources.bpfmaps import BpfMap, MapLayout
from kvmexporter.sources.regions import Epoch, RegionTables
from tests.unit.vcpu_records import MemoryMap

MAX_REGIONS, MAX_VMS = 16, 3

_LAYOUTS = {
    "regions": MapLayout(16, 16, MAX_REGIONS, {}),
    "region_generations": MapLayout(4, 8, MAX_VMS, {}),
    "vm_indexes": MapLayout(4, 4, MAX_VMS, {}),
    "vm_epochs": MapLayout(4, 8, MAX_VMS, {}),
    "vm_confirmed": MapLayout(4, 8, MAX_VMS, {}),
    "unknown_addresses": MapLayout(16, 8, 16, {}),
    "met": MapLayout(0, 4, 16, {}),
}

_BY_VM = ("vm_indexes", "vm_epochs", "vm_confirmed", "region_generations")


class Queue(MemoryMap):
    """A queue in memory: what bpf(2) has for it takes another kind of map."""

    def __init__(self, layout: MapLayout) -> None:
        super().__init__("met", layout)
        self.values: list[bytes] = []

    def pop(self) -> bytes | None:
        return self.values.pop(0) if self.values else None


class Maps:
    """The maps, what writes them, and what BPF would see in them and do to them."""

    def __init__(self, make: Callable[[str, MapLayout], BpfMap], max_vms: int = MAX_VMS) -> None:
        self.queue = Queue(_LAYOUTS["met"])
        self.maps: dict[str, BpfMap] = {
            name: make(name, replace(layout, max_entries=max_vms) if name in _BY_VM else layout)
            for name, layout in _LAYOUTS.items()
            if name != "met"
        }
        for index in range(max_vms):  # an array has all its entries from the start
            for name in _BY_VM[1:]:
                self.maps[name].set(struct.pack("I", index), bytes(8))
        self.tables = RegionTables(self.maps | {"met": self.queue})

    def regions(self) -> dict[tuple[int, Key], Entry]:
        """(process, key) → entry, as they are in the map."""
        found = {}
        for key, value in self.maps["regions"].items():
            page, pid, space = struct.unpack("QII", key)
            found[pid, Key(space, page)] = Entry(*struct.unpack("IIII", value))
        return found

    def indexes(self) -> dict[int, int]:
        """Process → its place."""
        return {
            struct.unpack("I", key)[0]: struct.unpack("I", value)[0]
            for key, value in self.maps["vm_indexes"].items()
        }

    def generation(self, index: int) -> tuple[int, int]:
        """What has BPF look anew at the VM of a place: told by user space, moved by the guest."""
        value = self.maps["region_generations"].get(struct.pack("I", index))
        assert value
        told, moved = struct.unpack("II", value)
        return told, moved

    def guest_moves(self, index: int, pci: int = 0, virtio: int = 0) -> None:
        """What BPF does when a guest writes to PCI configuration space, or starts a device."""
        key = struct.pack("I", index)
        value = self.maps["vm_epochs"].get(key)
        assert value
        numbers = struct.unpack("II", value)
        now = numbers[0] + pci & 0xFFFFFFFF, numbers[1] + virtio & 0xFFFFFFFF
        self.maps["vm_epochs"].set(key, struct.pack("II", *now))
        told, moved = self.generation(index)
        self.maps["region_generations"].set(key, struct.pack("II", told, moved + pci))

    def touches_unknown(self, pid: int, address: int, times: int) -> None:
        """What BPF does when a guest touches memory that is nobody's."""
        key = struct.pack("QII", address >> 12, pid, PAGE)
        self.maps["unknown_addresses"].set(key, struct.pack("Q", times))

    def epoch(self, pid: int) -> Epoch:
        """Where a known VM's guest is."""
        epoch = self.tables.epoch(pid)
        assert epoch
        return epoch

    def close(self) -> None:
        for one in self.maps.values():
            one.close()
