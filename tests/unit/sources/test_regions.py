# SPDX-License-Identifier: Apache-2.0
"""Region tables as the BPF side finds them: in maps of the kernel's and in memory."""

import struct
from collections.abc import Iterator

import pytest

from kvmexporter.errors import KvmExporterError
from kvmexporter.model.regiontable import CHUNK, MOVES, PAGE, PORT, Entry, Key
from kvmexporter.sources.regions import Epoch
from tests.unit.region_maps import MAX_REGIONS, MAX_VMS, Maps
from tests.unit.vcpu_records import MemoryMap, kernel_map, no_kernel_maps, struct_layout

VM, OTHER = 500, 600
SERIAL, PAGE_ENTRY = Entry(3), Entry(4, MOVES, 7, 2)
TABLE = {Key(PORT, 0x3F8): SERIAL, Key(PAGE, 0xFEBC0): PAGE_ENTRY, Key(CHUNK, 1 << 40): Entry(5)}

_NO_MAPS = no_kernel_maps()


@pytest.fixture(
    params=[
        pytest.param(MemoryMap, id="memory"),
        pytest.param(
            kernel_map,
            id="kernel",
            marks=pytest.mark.skipif(bool(_NO_MAPS), reason=_NO_MAPS or "bpf(2) works"),
        ),
    ]
)
def maps(request: pytest.FixtureRequest) -> Iterator[Maps]:
    made = Maps(request.param)
    yield made
    made.close()


def test_layouts_are_those_of_the_c() -> None:
    """Sizes and fields in the order in which they are packed."""
    size, fields = struct_layout("region_key")
    assert (size, list(fields)) == (16, ["page", "tgid", "space"])
    size, fields = struct_layout("region")
    assert (size, list(fields)) == (16, ["slot", "flags", "first_kick", "queues"])
    size, fields = struct_layout("vm_epoch")
    assert (size, list(fields)) == (8, ["pci", "virtio"])


def test_a_new_vm(maps: Maps) -> None:
    """It has a place other than 0, no region, and nothing confirmed."""
    maps.tables.add(VM)
    maps.tables.add(OTHER)
    places = maps.indexes()
    assert set(places) == {VM, OTHER}
    assert set(places.values()) == {1, 2}
    assert maps.regions() == {}
    assert not maps.tables.is_confirmed(VM)
    assert maps.tables.entries() == 0


def test_a_vm_is_added_once(maps: Maps) -> None:
    """The second time is without effect."""
    maps.tables.add(VM)
    maps.tables.write(VM, TABLE, maps.epoch(VM))
    before = maps.indexes(), maps.generation(maps.indexes()[VM])
    maps.tables.add(VM)
    assert (maps.indexes(), maps.generation(maps.indexes()[VM])) == before
    assert maps.tables.is_confirmed(VM)


def test_a_table_is_written(maps: Maps) -> None:
    """As it is, for that VM alone, and confirmed."""
    maps.tables.add(VM)
    maps.tables.add(OTHER)
    maps.tables.write(VM, TABLE, maps.epoch(VM))
    assert maps.regions() == {(VM, key): entry for key, entry in TABLE.items()}
    assert maps.tables.entries() == len(TABLE)
    assert maps.tables.is_confirmed(VM)
    assert not maps.tables.is_confirmed(OTHER)


def test_a_table_is_replaced(maps: Maps) -> None:
    """What is not in the new one is gone, what differs is changed."""
    maps.tables.add(VM)
    maps.tables.write(VM, TABLE, maps.epoch(VM))
    changed = {Key(PORT, 0x3F8): Entry(9), Key(PORT, 0x2F8): SERIAL}
    maps.tables.write(VM, changed, maps.epoch(VM))
    assert maps.regions() == {(VM, key): entry for key, entry in changed.items()}


def test_bpf_looks_anew_when_something_differs_and_only_then(maps: Maps) -> None:
    """A refresh that finds nothing new costs the guests nothing."""
    generations = []

    def moved() -> bool:
        generations.append(maps.generation(index))
        return generations[-1] not in generations[:-1]

    unknown = maps.generation(0)
    maps.tables.add(VM)
    index = maps.indexes()[VM]
    assert moved()
    assert maps.generation(0) != unknown  # its threads learn where its place is
    maps.tables.write(VM, TABLE, maps.epoch(VM))
    assert moved()
    maps.tables.write(VM, TABLE, maps.epoch(VM))
    assert not moved()
    maps.guest_moves(index, pci=1)
    assert moved()
    maps.tables.write(VM, TABLE, maps.epoch(VM))
    assert moved()
    maps.guest_moves(index, pci=1)
    assert moved()
    maps.tables.remove(VM)
    assert moved()


def test_other_vms_are_left_alone(maps: Maps) -> None:
    """What one VM's guest or table does, the others' threads do not look anew for."""
    maps.tables.add(VM)
    maps.tables.add(OTHER)
    before = maps.generation(maps.indexes()[OTHER])
    maps.tables.write(VM, TABLE, maps.epoch(VM))
    maps.guest_moves(maps.indexes()[VM], pci=1)
    maps.tables.remove(VM)
    assert maps.generation(maps.indexes()[OTHER]) == before


@pytest.mark.parametrize("what", [{"pci": 1}, {"virtio": 1}, {"pci": 41, "virtio": 43}])
def test_a_guest_that_moves_its_devices(maps: Maps, what: dict[str, int]) -> None:
    """The table is not confirmed until it was asked for after that."""
    maps.tables.add(VM)
    asked_at = maps.epoch(VM)
    maps.guest_moves(maps.indexes()[VM], **what)
    maps.tables.write(VM, TABLE, asked_at)
    assert not maps.tables.is_confirmed(VM)
    assert maps.epoch(VM) == Epoch(what.get("pci", 0), what.get("virtio", 0))
    maps.tables.write(VM, TABLE, maps.epoch(VM))
    assert maps.tables.is_confirmed(VM)
    maps.guest_moves(maps.indexes()[VM], **what)
    assert not maps.tables.is_confirmed(VM)


def test_nothing_is_left_of_a_removed_vm(maps: Maps) -> None:
    """Nor does its going touch another."""
    maps.tables.add(VM)
    maps.tables.add(OTHER)
    maps.tables.write(VM, TABLE, maps.epoch(VM))
    maps.tables.write(OTHER, {Key(PORT, 1): SERIAL}, maps.epoch(OTHER))
    maps.tables.remove(VM)
    assert maps.regions() == {(OTHER, Key(PORT, 1)): SERIAL}
    assert set(maps.indexes()) == {OTHER}
    assert maps.tables.epoch(VM) is None
    assert not maps.tables.is_confirmed(VM)
    assert maps.tables.is_confirmed(OTHER)
    maps.tables.remove(VM)
    maps.tables.remove(OTHER)
    assert maps.regions() == {}
    assert maps.indexes() == {}
    assert maps.tables.entries() == 0


@pytest.mark.parametrize("moves", [0, 1, (1 << 32) - 1])
def test_a_place_that_comes_again_is_not_confirmed(maps: Maps, moves: int) -> None:
    """Whatever the VM before it has left, and however far its guest had got."""
    for pid in range(1000, 1020):
        maps.tables.add(pid)
        place = maps.indexes()[pid]
        assert not maps.tables.is_confirmed(pid)
        maps.tables.write(pid, TABLE, maps.epoch(pid))
        assert maps.tables.is_confirmed(pid)
        maps.guest_moves(place, pci=moves, virtio=moves)
        maps.tables.remove(pid)
        # A thread of the VM that is gone may still be on its way.
        maps.guest_moves(place, pci=1)
    assert maps.indexes() == {}


def test_more_vms_than_there_is_room_for(maps: Maps) -> None:
    """Those are not known, and take nobody's place."""
    for pid in range(1000, 1010):
        maps.tables.add(pid)
    assert len(maps.indexes()) == MAX_VMS - 1
    assert 0 not in maps.indexes().values()
    assert maps.tables.epoch(1009) is None
    maps.tables.write(1009, TABLE, Epoch(0, 0))
    assert not maps.tables.is_confirmed(1009)
    assert maps.regions() == {}
    maps.tables.remove(1009)
    maps.tables.remove(1000)
    maps.tables.add(1009)
    maps.tables.write(1009, TABLE, maps.epoch(1009))
    assert maps.tables.is_confirmed(1009)


def test_a_vm_that_is_not_known(maps: Maps) -> None:
    """Nothing is written for it."""
    maps.tables.write(VM, TABLE, Epoch(0, 0))
    assert maps.regions() == {}
    assert maps.tables.epoch(VM) is None


@pytest.mark.skipif(bool(_NO_MAPS), reason=_NO_MAPS or "bpf(2) works")
def test_a_full_map() -> None:
    """It is an error, BPF is told of what got in, and all of it goes with the VM."""
    maps = Maps(kernel_map)
    maps.tables.add(VM)
    before = maps.generation(maps.indexes()[VM])
    too_many = {Key(PORT, port): SERIAL for port in range(MAX_REGIONS * 4)}
    with pytest.raises(KvmExporterError, match="regions"):
        maps.tables.write(VM, too_many, maps.epoch(VM))
    assert maps.generation(maps.indexes()[VM]) != before
    assert not maps.tables.is_confirmed(VM)
    assert len(maps.regions()) == maps.tables.entries() > 0
    maps.tables.write(VM, TABLE, maps.epoch(VM))
    assert maps.regions() == {(VM, key): entry for key, entry in TABLE.items()}
    maps.tables.remove(VM)
    assert maps.regions() == {}
    maps.close()


def test_processes_that_were_met(maps: Maps) -> None:
    """Each once, and never again."""
    maps.queue.values = [struct.pack("I", pid) for pid in (VM, OTHER, VM)]
    assert maps.tables.met() == {VM, OTHER}
    assert maps.tables.met() == set()


def test_addresses_that_belong_to_nobody(maps: Maps) -> None:
    """By process: ports as they are, memory by the page's address."""
    unknown = maps.maps["unknown_addresses"]
    for page, pid, space, count in (
        (0x3F0, VM, PORT, 3),
        (0xFEBC0, VM, PAGE, 5),
        (0x10, OTHER, PORT, 7),
        (1, OTHER, CHUNK, 11),
    ):
        unknown.set(struct.pack("QII", page, pid, space), struct.pack("Q", count))
    assert maps.tables.unknown_addresses() == {
        VM: {("port", 0x3F0): 3, ("memory", 0xFEBC0000): 5},
        OTHER: {("port", 0x10): 7},
    }


def test_addresses_that_got_an_owner_later(maps: Maps) -> None:
    """They are nobody's no more."""
    maps.tables.add(VM)
    maps.touches_unknown(VM, 0xFEBC0000, 3)
    maps.touches_unknown(VM, 0xFEBC1000, 5)
    maps.tables.write(VM, TABLE, maps.epoch(VM))
    assert maps.tables.unknown_addresses() == {VM: {("memory", 0xFEBC1000): 5}}
