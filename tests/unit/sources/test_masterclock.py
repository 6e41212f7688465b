# SPDX-License-Identifier: Apache-2.0
"""Reading what BPF keeps of VMs' clocks."""

import pytest

from kvmexporter.model.vm import VmId
from kvmexporter.model.vm_clocks import MasterClock
from kvmexporter.sources.bpfmaps import BpfMap
from kvmexporter.sources.masterclock import MasterClockReader
from tests.unit.clock_records import clocks_layout, offsets_layout, write_clock, write_offset
from tests.unit.vcpu_records import MemoryMap

SECOND = 1_000_000_000
WEB = VmId(20 * SECOND, 10)
DB = VmId(30 * SECOND, 11)


class Maps:
    """Both maps, their reader and its clock."""

    def __init__(self) -> None:
        self.clocks: BpfMap = MemoryMap("vm_clocks", clocks_layout())
        self.offsets: BpfMap = MemoryMap("tsc_offsets", offsets_layout())
        self.now_ns = 40 * SECOND
        self.reader = MasterClockReader(self.clocks, self.offsets, lambda: self.now_ns)

    def left(self) -> int:
        return len(list(self.clocks.items())) + len(list(self.offsets.items()))


@pytest.fixture
def maps() -> Maps:
    return Maps()


def test_nothing(maps: Maps) -> None:
    """A VM of which nothing is known is left out."""
    assert maps.reader.read([WEB]) == {}


def test_vms_are_told_apart(maps: Maps) -> None:
    """Each has its own clock, and its vCPUs' offsets."""
    write_clock(
        maps.clocks, 10, WEB.start_ns,
        master_clock=2, host_clock=2, master_clock_changes=3, pvclock_updates=5,
    )  # fmt: skip
    write_clock(maps.clocks, 11, DB.start_ns, master_clock=1, host_clock=1)
    write_offset(maps.offsets, 10, 0, -1000, 7, WEB.start_ns)
    write_offset(maps.offsets, 10, 1, 1000, 11, WEB.start_ns)
    assert maps.reader.read([WEB, DB]) == {
        WEB: MasterClock(True, "tsc", 3, 5, 18, 2000),
        DB: MasterClock(False, "none"),
    }


def test_offsets_alone(maps: Maps) -> None:
    """Where the kernel has no other of these tracepoints, the clock's state is not known."""
    write_offset(maps.offsets, 10, 0, 17, 1, WEB.start_ns)
    assert maps.reader.read([WEB]) == {WEB: MasterClock(None, "", 0, 0, 1, 0)}


def test_an_earlier_process_of_the_same_pid(maps: Maps) -> None:
    """What it left is nobody's, and is taken out."""
    write_clock(maps.clocks, 10, WEB.start_ns - SECOND, master_clock=2)
    write_offset(maps.offsets, 10, 0, 17, 1, WEB.start_ns - SECOND)
    assert maps.reader.read([WEB]) == {}
    assert maps.left() == 0


def test_a_vm_that_is_not_known_yet(maps: Maps) -> None:
    """Its clock waits for it, but not for ever."""
    write_clock(maps.clocks, 10, WEB.start_ns, master_clock=2)
    assert maps.reader.read([]) == {}
    assert maps.reader.read([WEB])[WEB].enabled
    maps.now_ns += 200 * SECOND
    assert maps.reader.read([]) == {}
    assert maps.left() == 0
