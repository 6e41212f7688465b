# SPDX-License-Identifier: Apache-2.0
"""Raw I/O counters become accesses to devices."""

import pytest

from kvmexporter.bpf.request import HISTOGRAM_BUCKETS, IO_SLOTS, KICK_SLOTS
from kvmexporter.model.histogram import Histogram
from kvmexporter.model.io import UNKNOWN_TARGET, DevicePath, IoExit, IoTarget, vm_io
from kvmexporter.model.regiontable import Slots
from tests.unit.vcpu_records import constants, counters, enumerators

WORDS = HISTOGRAM_BUCKETS + 1
SERIAL = IoTarget("serial0", "isa-serial", "emulated")
NIC = IoTarget("net0", "virtio-net-pci", "vhost")


def cell(slot: int, access: str, direction: str, handler: str) -> int:
    """As the C computes it, from its own enumerations."""
    c = enumerators()
    if access == "fast_mmio":
        return slot * constants()["IO_CELLS"] + constants()["IO_FAST_MMIO_CELL"]
    return (
        slot * constants()["IO_CELLS"]
        + c["io_access"].index(f"IO_{access.upper()}") * 4
        + c["io_direction"].index(f"IO_{direction.upper()}") * 2
        + c["io_handler"].index(f"IO_{handler.upper()}")
    )


def test_nothing_counted() -> None:
    """Zeros make no series."""
    io = vm_io(counters(), (UNKNOWN_TARGET,))
    assert not io.exits
    assert not io.handling


def test_every_cell_by_its_name() -> None:
    """Access, direction and handler are those that the C counted."""
    names = [
        (access, direction, handler)
        for access in ("pio", "mmio")
        for direction in ("read", "write")
        for handler in ("kernel", "userspace")
    ]
    names.append(("fast_mmio", "write", "kernel"))
    for slot, target in enumerate((UNKNOWN_TARGET, SERIAL, NIC)):
        for count, name in enumerate(names, start=2):
            io = vm_io(counters(io={cell(slot, *name): count}), (UNKNOWN_TARGET, SERIAL, NIC))
            assert io.exits == {IoExit(*target, *name): count}


def test_slots_without_a_target_are_unknown_together() -> None:
    """What user space has not named yet is one target, and nothing of it is lost."""
    write = ("pio", "write", "userspace")
    io = vm_io(
        counters(
            io={cell(0, *write): 2, cell(1, *write): 3, cell(IO_SLOTS - 1, *write): 5},
            io_handling={0: 1, WORDS - 1: 10, WORDS: 1, 2 * WORDS - 1: 30},
        ),
        (),
    )
    assert io.exits == {IoExit(*UNKNOWN_TARGET, *write): 10}
    assert io.handling == {DevicePath("unknown", "unknown"): Histogram((2, *[0] * 23), 40)}


def test_slots_of_one_target_add_up() -> None:
    """A device with several windows is one device."""
    read = ("mmio", "read", "kernel")
    io = vm_io(
        counters(
            io={cell(1, *read): 7, cell(2, *read): 11},
            io_handling={WORDS + 3: 7, 2 * WORDS + 3: 11, 2 * WORDS + 24: 100},
        ),
        (UNKNOWN_TARGET, NIC, NIC),
    )
    assert io.exits == {IoExit(*NIC, *read): 18}
    assert io.handling == {DevicePath("net0", "vhost"): Histogram((0, 0, 0, 18, *[0] * 20), 100)}


def test_times_of_one_device_and_path_add_up() -> None:
    """Whatever drivers it has there: they are not told apart."""
    targets = (UNKNOWN_TARGET, IoTarget("net0", "a", "vhost"), IoTarget("net0", "b", "vhost"))
    io = vm_io(counters(io_handling={WORDS + 3: 7, 2 * WORDS + 3: 11}), targets)
    assert io.handling == {DevicePath("net0", "vhost"): Histogram((0, 0, 0, 18, *[0] * 20), 0)}


@pytest.mark.parametrize("least", [0, 1, 17, 18, 19])
def test_times_of_rare_accesses_may_be_left_out(least: int) -> None:
    """As many as are told by one name; the sum of the times is no access."""
    counted = counters(
        io={cell(1, "mmio", "read", "kernel"): 18},
        io_handling={WORDS + 3: 7, WORDS + 4: 11, 2 * WORDS - 1: 10**9},
    )
    io = vm_io(counted, (UNKNOWN_TARGET, NIC), least)
    assert len(io.handling) == (least <= 18)
    assert io.exits
    twice = (UNKNOWN_TARGET, NIC, IoTarget(NIC.device, "other", NIC.path))
    for targets in ((), (UNKNOWN_TARGET,), twice):
        assert len(vm_io(counted, targets, least).handling) == 1, "others may add to it"


def test_slots_that_nobody_has_do_not_keep_times_of_rare_accesses() -> None:
    """As every VM's are: what is rare is left out, whatever the slots after it are called."""
    slots = Slots(IO_SLOTS, KICK_SLOTS)
    serial, nic = slots.slot(SERIAL), slots.slot(NIC)
    counted = counters(io_handling={serial * WORDS + 3: 17, nic * WORDS + 3: 18})
    assert set(vm_io(counted, slots.targets(), 18).handling) == {DevicePath(NIC.device, NIC.path)}
