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


@pytest.mark.parametrize(("early_ns", "known"), [(10_000_000, True), (10_000_001, False)])
def test_a_start_that_procfs_rounds(maps: Maps, early_ns: int, known: bool) -> None:
    """An entry may be as much older than its process as a start can be off, and no older."""
    write_clock(maps.clocks, 10, WEB.start_ns - early_ns, master_clock=2)
    write_offset(maps.offsets, 10, 0, 17, 1, WEB.start_ns - early_ns)
    expected = {WEB: MasterClock(True, offset_writes=1, offset_spread=0)} if known else {}
    assert maps.reader.read([WEB]) == expected
    assert maps.left() == 2 * known


def test_a_pid_that_is_taken_again(maps: Maps) -> None:
    """What was a VM's is nobody's once its pid is another's, though the maps are as they were."""
    again = VmId(WEB.start_ns + SECOND, WEB.pid)
    write_offset(maps.offsets, 10, 0, 17, 1, WEB.start_ns)
    write_offset(maps.offsets, 10, 1, 19, 1, WEB.start_ns)
    assert maps.reader.read([WEB]) == {WEB: MasterClock(offset_writes=2, offset_spread=2)}
    write_offset(maps.offsets, 10, 1, 23, 3, again.start_ns)
    assert maps.reader.read([again]) == {again: MasterClock(offset_writes=3, offset_spread=0)}
    assert maps.left() == 1


def test_a_pid_that_is_taken_again_at_once(maps: Maps) -> None:
    """The same before the new VM has written any."""
    write_offset(maps.offsets, 10, 0, 17, 1, WEB.start_ns)
    assert maps.reader.read([WEB])
    assert maps.reader.read([VmId(WEB.start_ns + SECOND, WEB.pid)]) == {}
    assert maps.left() == 0


def test_what_changes(maps: Maps) -> None:
    """Each reading tells what is in the maps now: another offset, another vCPU, another VM."""
    write_offset(maps.offsets, 10, 0, 17, 1, WEB.start_ns)
    for _ in range(2):
        assert maps.reader.read([WEB, DB]) == {WEB: MasterClock(offset_writes=1, offset_spread=0)}
    write_offset(maps.offsets, 10, 0, 11, 2, WEB.start_ns)
    write_offset(maps.offsets, 10, 1, 16, 1, WEB.start_ns)
    web = MasterClock(offset_writes=3, offset_spread=5)
    assert maps.reader.read([WEB, DB]) == {WEB: web}
    write_offset(maps.offsets, 11, 0, 17, 7, DB.start_ns)
    assert maps.reader.read([WEB, DB]) == {
        WEB: web,
        DB: MasterClock(offset_writes=7, offset_spread=0),
    }
    assert maps.reader.read([WEB]) == {WEB: web}
    assert maps.left() == 3


def test_offsets_that_nobody_claims(maps: Maps) -> None:
    """They go when they are old, though nothing else has changed, and a VM's own stay."""
    write_offset(maps.offsets, 10, 0, 17, 1, WEB.start_ns)
    write_offset(maps.offsets, 11, 0, 17, 1, DB.start_ns)
    web = {WEB: MasterClock(offset_writes=1, offset_spread=0)}
    maps.now_ns = DB.start_ns + 120 * SECOND
    for _ in range(2):
        assert maps.reader.read([WEB]) == web
        assert maps.left() == 2
    maps.now_ns += 1
    assert maps.reader.read([WEB]) == web
    assert maps.left() == 1


def test_offsets_on_both_sides_of_zero(maps: Maps) -> None:
    """Offsets are modulo 2^64: those of one VM can be small and huge, and next to each other."""
    for vcpu, offset in enumerate([-3, 2, -1, 0]):
        write_offset(maps.offsets, 10, vcpu, offset, 1, WEB.start_ns)
    assert maps.reader.read([WEB])[WEB].offset_spread == 5
