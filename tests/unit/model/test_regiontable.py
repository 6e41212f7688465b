# SPDX-License-Identifier: Apache-2.0
"""Every address of recorded VMs is found in its table, and tables and slots are bounded."""

import re
import time

import pytest

from kvmexporter.bpf.request import IO_SLOTS, KICK_SLOTS
from kvmexporter.model.devices import Kicks, Window
from kvmexporter.model.io import UNKNOWN_TARGET, IoTarget
from kvmexporter.model.regiontable import (
    CHUNK,
    LARGE_PAGE,
    MAX_ENTRIES,
    MOVES,
    OTHER_TARGET,
    PAGE,
    PCI_CONFIG,
    PORT,
    SPLIT,
    STARTS,
    UNKNOWN_QUEUE,
    VIRTIO_COMMON,
    Entry,
    Key,
    Slots,
    entries,
)
from tests.unit.model.recorded import NAMES, RELEASES, load
from tests.unit.vcpu_records import c_source, enumerators

MIB = 1 << 20
NIC = IoTarget("nic0", "virtio-net-pci", "virtio")
DISK = IoTarget("disk0", "virtio-blk-pci", "virtio")


def slots(io_slots: int = IO_SLOTS, kick_slots: int = KICK_SLOTS) -> Slots:
    return Slots(io_slots, kick_slots)


def memory(first: int, last: int, target: IoTarget = NIC, kicks: Kicks | None = None) -> Window:
    return Window("memory", first, last, target, kicks=kicks)


def look_up(table: dict[Key, Entry], space: str, address: int) -> Entry | None:
    """What the BPF side finds for an address."""
    if space == "port":
        return table.get(Key(PORT, address))
    found = table.get(Key(PAGE, address >> 12))
    if not found:
        return table.get(Key(LARGE_PAGE, address >> 21))
    return table.get(Key(CHUNK, address >> 4)) if found.flags & SPLIT else found


def test_numbers_are_those_of_the_c() -> None:
    """Spaces, flags and shifts."""
    spaces = enumerators()["region_space"]
    numbers = [PORT, PAGE, LARGE_PAGE, CHUNK]
    assert spaces == ("SPACE_PORT", "SPACE_PAGE", "SPACE_LARGE_PAGE", "SPACE_CHUNK")
    assert numbers == list(range(len(spaces)))
    numbers_of = {
        name: int(number) for name, number in re.findall(r"#define (\w+)\s+(\d+)\s", c_source())
    }
    expected = {
        "REGION_SPLIT": SPLIT,
        "REGION_MOVES": MOVES,
        "REGION_STARTS": STARTS,
        "REGION_PCI_CONFIG": PCI_CONFIG,
        "REGION_VIRTIO_COMMON": VIRTIO_COMMON,
        "PAGE_SHIFT_4K": 12,
        "PAGE_SHIFT_2M": 21,
        "CHUNK_SHIFT": 4,
    }
    assert {name: numbers_of[name] for name in expected} == expected


@pytest.mark.parametrize(("release", "configuration"), NAMES)
def test_every_address_of_a_recording_is_found(release: str, configuration: str) -> None:
    """First, middle and last of each window lead to its target and flags."""
    of_vm = slots(io_slots=128, kick_slots=1024)
    windows = load(release, configuration).windows()
    table = entries(windows, of_vm)
    assert len(table) < MAX_ENTRIES
    targets = of_vm.targets()
    for window in windows:
        for address in (window.first, (window.first + window.last) // 2, window.last):
            entry = look_up(table, window.space, address)
            assert entry, f"{window.space} {address:x}"
            assert targets[entry.slot] == window.target
            assert bool(entry.flags & MOVES) == window.moves
            assert bool(entry.flags & STARTS) == window.starts
            assert bool(entry.flags & PCI_CONFIG) == window.pci_config
            assert bool(entry.flags & VIRTIO_COMMON) == window.virtio_common
            assert bool(entry.queues) == bool(window.kicks)


@pytest.mark.parametrize(("release", "configuration"), NAMES)
def test_ports_of_nobody_are_not_in_the_table(release: str, configuration: str) -> None:
    """Each port that is, belongs to a window."""
    windows = load(release, configuration).windows()
    table = entries(windows, slots())
    covered = {
        port
        for window in windows
        if window.space == "port"
        for port in range(window.first, window.last + 1)
    }
    assert {key.page for key in table if key.space == PORT} == covered


@pytest.mark.parametrize(("release", "configuration"), NAMES)
def test_a_refresh_changes_nothing(release: str, configuration: str) -> None:
    """Neither slots nor entries, for there is nothing new."""
    of_vm = slots()
    windows = load(release, configuration).windows()
    table = entries(windows, of_vm)
    before = of_vm.targets(), of_vm.kick_labels()
    assert entries(windows, of_vm) == table
    assert entries(windows[::-1], of_vm).keys() == table.keys()
    assert (of_vm.targets(), of_vm.kick_labels()) == before


@pytest.mark.parametrize("release", RELEASES)
def test_slots_outlast_the_firmware(release: str) -> None:
    """What was counted before the BARs were mapped stays with whom it was counted for."""
    of_vm = slots(io_slots=128)
    entries(load(release, "pc-unmapped").windows(), of_vm)
    before = {target: slot for slot, target in enumerate(of_vm.targets())}
    del before[OTHER_TARGET]
    entries(load(release, "pc").windows(), of_vm)
    after = of_vm.targets()
    assert all(after[slot] == target for target, slot in before.items())
    assert len(set(after) - {OTHER_TARGET}) > len(before)


@pytest.mark.parametrize("release", RELEASES)
def test_there_are_slots_enough_for_the_devices_of_a_small_vm(release: str) -> None:
    """No device of a microvm, nor of a PC with one NIC, is lumped in with others."""
    for configuration in ("microvm", "pc-vhost", "q35-vhost-user"):
        of_vm = slots()
        table = entries(load(release, configuration).windows(), of_vm)
        assert IO_SLOTS - 1 not in {entry.slot for entry in table.values()}


def test_slots_are_bounded() -> None:
    """Those that come when none is left share the last, for good."""
    of_vm = slots(io_slots=4)
    targets = [IoTarget(f"d{number}", "e1000", "emulated") for number in range(1000)]
    assert [of_vm.slot(target) for target in targets[:5]] == [1, 2, 3, 3, 3]
    assert {of_vm.slot(target) for target in targets[2:]} == {3}
    assert of_vm.slot(UNKNOWN_TARGET) == 0
    assert of_vm.targets() == (UNKNOWN_TARGET, *targets[:2], OTHER_TARGET)


def test_who_is_short_of_slots() -> None:
    """Those that users chose come before the chipset."""
    platform = [
        memory(page << 12, page << 12, IoTarget(f"p{page}", "x", "platform")) for page in range(9)
    ]
    own = Window("memory", 1 << 30, 1 << 30, NIC, moves=True)
    irqchip = memory(1 << 31, 1 << 31, IoTarget("kvm-apic", "kvm-apic", "irqchip"))
    of_vm = slots(io_slots=4)
    entries([*platform, irqchip, own], of_vm)
    assert of_vm.targets()[1:3] == (NIC, irqchip.target)


def test_kicks_of_several_devices() -> None:
    """Each queue has a counter of its own."""
    of_vm = slots()
    assert of_vm.kicks(Kicks("disk0", 2, 4)) == (0, 2)
    assert of_vm.kicks(Kicks("nic0", 3, 4)) == (2, 3)
    assert of_vm.kicks(Kicks("disk0", 2, 4)) == (0, 2)
    assert of_vm.kick_labels() == (
        *(("disk0", "0"), ("disk0", "1")),
        *(("nic0", "0"), ("nic0", "1"), ("nic0", "2")),
    )


def test_kicks_when_there_are_too_few_counters() -> None:
    """The last counter of a device says that it is more than one queue's."""
    of_vm = slots(kick_slots=5)
    assert of_vm.kicks(Kicks("nic0", 3, 4)) == (0, 3)
    assert of_vm.kicks(Kicks("serial0", 64, 4)) == (3, 2)
    assert of_vm.kicks(Kicks("rng0", 1, 4))[1] == 0
    assert of_vm.kick_labels()[3:] == (("serial0", "0"), ("serial0", "1+"))
    assert of_vm.kicks(Kicks("serial0", 64, 4)) == (3, 2)
    assert len(of_vm.kick_labels()) == 5


def test_kicks_of_queues_that_nobody_told_of() -> None:
    """A device that may have more queues than are known, and one that shows none."""
    of_vm = slots()
    of_vm.kicks(Kicks("a", 4, 4, more=True))
    of_vm.kicks(Kicks("b", 0, 4))
    assert [queue for _, queue in of_vm.kick_labels()] == ["0", "1", "2", "3+", UNKNOWN_QUEUE]


def test_a_device_that_gets_more_queues() -> None:
    """Its counters grow where there is room, else the last stands for the rest."""
    of_vm = slots()
    assert of_vm.kicks(Kicks("a", 1, 4)) == (0, 1)
    assert of_vm.kicks(Kicks("a", 2, 4)) == (0, 2)
    assert of_vm.kicks(Kicks("b", 1, 4)) == (2, 1)
    assert of_vm.kicks(Kicks("a", 8, 4)) == (0, 2)
    assert of_vm.kick_labels() == (("a", "0"), ("a", "1+"), ("b", "0"))


def test_kicks_are_bounded() -> None:
    """However many devices come and go."""
    of_vm = slots(kick_slots=8)
    for number in range(10_000):
        first, count = of_vm.kicks(Kicks(f"d{number}", 1024, 4))
        assert first + count <= 8
    assert len(of_vm.kick_labels()) == 8
    assert len(of_vm._kicks) == 1


def test_large_windows_take_large_pages() -> None:
    """256 MiB of PCI configuration are 128 entries; what does not fill 2 MiB takes pages."""
    window = Window("memory", 0xB0000000, 0xBFFFFFFF, NIC, pci_config=True)
    table = entries([window], slots())
    assert len(table) == 128
    assert {key.space for key in table} == {LARGE_PAGE}
    odd = memory(2 * MIB - 4096, 4 * MIB + 4095)
    table = entries([odd], slots())
    assert sorted(table) == [Key(PAGE, 511), Key(PAGE, 1024), Key(LARGE_PAGE, 1)]


def test_a_shared_page_is_split() -> None:
    """Devices that share a page are told apart by 16 bytes; bytes of two are nobody's."""
    of_vm = slots()
    disk = Window("memory", 0x1000, 0x107F, DISK)
    nic = Window("memory", 0x1088, 0x1FFF, NIC)
    table = entries([disk, nic], of_vm)
    assert table[Key(PAGE, 1)] == Entry(0, SPLIT)
    assert look_up(table, "memory", 0x107F) == Entry(of_vm.slot(DISK))
    assert look_up(table, "memory", 0x1088) == Entry(of_vm.slot(NIC))
    assert look_up(table, "memory", 0x1FFF) == Entry(of_vm.slot(NIC))
    table = entries([disk, Window("memory", 0x1078, 0x1FFF, NIC)], of_vm)
    assert look_up(table, "memory", 0x1070) is None
    assert look_up(table, "memory", 0x1060) == Entry(of_vm.slot(DISK))


def test_windows_of_one_device_share_a_page() -> None:
    """It is not split then."""
    table = entries([memory(0x1000, 0x102F), memory(0x1800, 0x1807)], slots())
    assert list(table) == [Key(PAGE, 1)]


def test_a_page_for_each_queue() -> None:
    """Each has its own counter; those behind the last queue are the last's."""
    window = memory(0x3000, 0x6FFF, kicks=Kicks("nic0", 2, 4096))
    of_vm = slots()
    of_vm.kicks(Kicks("disk0", 3, 4))
    table = entries([window], of_vm)
    found = [table[Key(PAGE, page)] for page in range(3, 7)]
    assert [(one.first_kick, one.queues) for one in found] == [(3, 1), (4, 1), (4, 1), (4, 1)]


def test_no_counter_is_no_counting() -> None:
    """A device that got no counter rings nobody's."""
    of_vm = slots(kick_slots=2)
    of_vm.kicks(Kicks("disk0", 2, 4))
    for stride in (4, 4096):
        table = entries([memory(0x3000, 0x4FFF, kicks=Kicks("nic0", 2, stride))], of_vm)
        assert {entry.queues for entry in table.values()} == {0}


def test_a_table_is_bounded_and_the_small_come_first() -> None:
    """A window of many pages leaves the others their place."""
    huge = memory(1 << 40, (1 << 40) + (1 << 30) - 1, DISK, Kicks("disk0", 2, 4))
    small = memory(0xFEC00000, 0xFEC00FFF)
    port = Window("port", 0x3F8, 0x3FF, NIC)
    of_vm = slots()
    table = entries([huge, small, port], of_vm)
    assert len(table) == MAX_ENTRIES
    assert look_up(table, "memory", 0xFEC00000) == Entry(of_vm.slot(NIC))
    assert look_up(table, "port", 0x3F8) == Entry(of_vm.slot(NIC))


@pytest.mark.parametrize(
    "window",
    [
        Window("port", 0, (1 << 64) - 1, NIC),
        Window("port", 1 << 40, (1 << 64) - 1, NIC),
        Window("memory", 0, (1 << 64) - 1, NIC),
        Window("memory", 0, 8000 * 4096, NIC, kicks=Kicks("nic0", 1024, 4)),
        Window("memory", 4095, 4096 * 4096, NIC),
    ],
)
def test_hostile_windows(window: Window) -> None:
    """Thousands that overlap cost no time and stay within the bound."""
    others = [
        Window(window.space, window.first, window.last, IoTarget(f"d{number}", "x", "emulated"),
               kicks=window.kicks)
        for number in range(8192)
    ]  # fmt: skip
    start = time.process_time()
    table = entries(others, slots())
    assert time.process_time() - start < 3
    assert len(table) <= MAX_ENTRIES
    assert all(key.page < 1 << 64 for key in table)
