# SPDX-License-Identifier: Apache-2.0
"""Records of vCPU threads, added up by VM: in maps of the kernel's and in memory."""

from collections.abc import Callable, Iterator

import pytest

from kvmexporter.model.vm import VmId
from kvmexporter.sources.vcpus import VcpuReader, VmCounters
from kvmexporter.tables.exit_reasons import Isa
from tests.unit.host import Clock
from tests.unit.near_places import NearPlaces
from tests.unit.vcpu_records import (
    MemoryMap,
    kernel_map,
    layout_of_counters,
    live_key,
    no_kernel_maps,
    record,
    retired_key,
    retired_layout,
    vcpus_layout,
)

VM, OTHER = VmId(1_000_000_000, 500), VmId(2_000_000_000, 600)
CREATED_NS = 3_000_000_000


class Threads:
    """vCPU threads as BPF keeps them, and what reads them."""

    def __init__(self, make: type[MemoryMap] | Callable[..., MemoryMap]) -> None:
        self.vcpus = make("vcpus", vcpus_layout())
        self.retired = make("retired", retired_layout())
        self.near = NearPlaces(make)
        self.clock = Clock()
        self.reader = VcpuReader(self.vcpus, self.retired, self.clock, self.near.reader)
        self.processes = {one.pid: one for one in (VM, OTHER)}

    def live(
        self,
        tid: int,
        exits: int,
        vm: VmId = VM,
        created_ns: int = CREATED_NS,
        vcpu_id: int = 0,
        isa: int = Isa.VMX,
        pending_cell: int = 0,
        io: dict[int, int] | None = None,
    ) -> None:
        """A thread that runs."""
        counted = {"exits": {1: exits}, "io": io or {}}
        self.keep(tid, record(vm.pid, created_ns, vcpu_id, isa, pending_cell, tid, **counted))

    def keep(self, tid: int, made: bytes) -> None:
        """Put a record where BPF does."""
        self.vcpus.set(live_key(tid), made)

    def ended(
        self,
        tid: int,
        exits: int,
        vm: VmId = VM,
        created_ns: int = CREATED_NS,
        pending_cell: int = 0,
        io: dict[int, int] | None = None,
    ) -> None:
        """A thread that has ended: BPF moved its record."""
        self.retired.set(
            retired_key(tid, vm.pid, created_ns),
            record(vm.pid, created_ns, 0, Isa.VMX, pending_cell, exits={1: exits}, io=io or {}),
        )
        self.forget(tid)

    def forget(self, tid: int) -> None:
        """Remove the record of a live thread, as BPF does when it ends."""
        self.vcpus.delete(live_key(tid))

    def read(self, by_vcpu: bool = False) -> dict[VmId, VmCounters]:
        return self.reader.read(self.processes.get, by_vcpu)

    def exits(self) -> dict[VmId, int]:
        """VM → its exits."""
        return {vm: counted.counters["exits"][1] for vm, counted in self.read().items()}

    def close(self) -> None:
        self.vcpus.close()
        self.retired.close()
        self.near.close()


class NearThreads(Threads):
    """The same threads, with records in places of their own."""

    def keep(self, tid: int, made: bytes) -> None:
        self.near.take(tid, made)

    def ended(
        self,
        tid: int,
        exits: int,
        vm: VmId = VM,
        created_ns: int = CREATED_NS,
        pending_cell: int = 0,
        io: dict[int, int] | None = None,
    ) -> None:
        counted = {"exits": {1: exits}, "io": io or {}}
        made = record(vm.pid, created_ns, 0, Isa.VMX, pending_cell, 0, **counted)
        self.near.take(tid, made)


_NO_MAPS = no_kernel_maps()


@pytest.fixture(
    params=[
        pytest.param((threads_of, make), id=f"{where}-{name}", marks=marks)
        for name, threads_of in (("hash", Threads), ("near", NearThreads))
        for where, make, marks in (
            ("memory", MemoryMap, ()),
            ("kernel", kernel_map, pytest.mark.skipif(bool(_NO_MAPS), reason=_NO_MAPS or "-")),
        )
    ]
)
def threads(request: pytest.FixtureRequest) -> Iterator[Threads]:
    threads_of, make = request.param
    made: Threads = threads_of(make)
    yield made
    made.close()


def test_nothing(threads: Threads) -> None:
    """Empty maps are no VM."""
    assert threads.read() == {}
    assert threads.vcpus.entries == 0


def test_threads_of_a_vm_are_added_up(threads: Threads) -> None:
    """Each VM has its own sum."""
    threads.live(501, 2)
    threads.live(502, 3, vcpu_id=1)
    threads.live(601, 5, OTHER)
    assert threads.exits() == {VM: 5, OTHER: 5}
    assert threads.vcpus.entries == (0 if isinstance(threads, NearThreads) else 3)
    counted = threads.read()
    assert (counted[VM].vcpus, counted[OTHER].vcpus) == (2, 1)
    assert (counted[VM].tids, counted[OTHER].tids) == ((501, 502), (601,))
    assert counted[VM].by_vcpu == {}


def test_many_threads(threads: Threads) -> None:
    """More than one batch of the kernel's."""
    for tid in range(211):
        threads.live(1000 + tid, tid, vcpu_id=tid)
    counted = threads.read(by_vcpu=True)
    assert counted[VM].counters["exits"][1] == sum(range(211))
    assert counted[VM].vcpus == 211
    by_vcpu = {number: one["exits"][1] for number, one in counted[VM].by_vcpu.items()}
    assert by_vcpu == {tid: tid for tid in range(211)}


def test_every_counter_counts_wherever_it_lies(threads: Threads) -> None:
    """The first and the last of each array, each alone in its record: none is cut off."""
    layout = layout_of_counters()
    tid = 500
    expected: dict[str, dict[int, int]] = {}
    for name, (_, count) in layout.arrays.items():
        for index in {0, count // 2, count - 1}:
            tid += 1
            expected.setdefault(name, {})[index] = tid
            made = record(VM.pid, CREATED_NS, tid, Isa.VMX, 0, tid, **{name: {index: tid}})
            threads.keep(tid, made)
    counted = threads.read()[VM].counters
    assert {name: dict(counted.nonzero(name)) for name in layout.arrays} == expected


def test_the_isa_is_that_of_any_thread_that_has_exited(threads: Threads) -> None:
    """A thread that has not been in the guest yet does not hide it."""
    threads.live(501, 0, isa=0)
    threads.live(502, 1, isa=Isa.SVM)
    threads.live(503, 0, isa=0)
    assert threads.read()[VM].isa == Isa.SVM


def test_counters_never_go_down_when_threads_end(threads: Threads) -> None:
    """What ended threads had counted stays with their VM, read after read."""
    threads.live(501, 7)
    threads.live(502, 11)
    seen = [threads.exits()[VM]]
    threads.ended(502, 13)
    seen.append(threads.exits()[VM])
    seen.append(threads.exits()[VM])
    threads.live(501, 8)
    threads.live(502, 1, created_ns=CREATED_NS + 1)
    seen.append(threads.exits()[VM])
    threads.ended(502, 3, created_ns=CREATED_NS + 1)
    threads.ended(501, 17)
    seen.append(threads.exits()[VM])
    seen.append(threads.exits()[VM])
    assert seen == [18, 20, 20, 22, 33, 33]


def test_the_threads_are_those_alive(threads: Threads) -> None:
    """One that ends is no thread of its VM's any more, whatever it has counted."""
    threads.live(502, 11)
    threads.live(501, 7)
    assert threads.read()[VM].tids == (501, 502)
    threads.ended(502, 13)
    assert threads.read()[VM].tids == (501,)
    threads.ended(501, 17)
    assert threads.read()[VM].tids == ()


def test_a_vm_without_threads_keeps_its_counts_while_its_process_lives(threads: Threads) -> None:
    """All its vCPU threads have ended, the VM has not."""
    threads.live(501, 7)
    threads.read()
    threads.ended(501, 7)
    assert threads.exits() == {VM: 7}
    assert threads.read()[VM].vcpus == 0
    assert threads.vcpus.entries == 0
    del threads.processes[VM.pid]
    assert threads.read() == {}
    threads.processes[VM.pid] = VM
    assert threads.read() == {}


def test_a_thread_that_was_never_met_alive(threads: Threads) -> None:
    """It came and went between two reads: its counts are its VM's all the same."""
    threads.ended(501, 19)
    assert threads.exits() == {VM: 19}


def test_a_thread_that_ends_between_the_two_reads_counts_once(threads: Threads) -> None:
    """It is met in both maps: as alive this time, as ended from the next time on."""
    if isinstance(threads, NearThreads):
        return  # such a record is in one map for all its life
    threads.live(501, 23)
    threads.retired.set(
        retired_key(501, VM.pid, CREATED_NS), record(VM.pid, CREATED_NS, exits={1: 29})
    )
    assert threads.exits() == {VM: 23}
    assert threads.read()[VM].vcpus == 1
    threads.forget(501)
    assert threads.exits() == {VM: 29}
    assert threads.exits() == {VM: 29}


def test_a_record_that_is_being_made_is_left_for_the_next_read(threads: Threads) -> None:
    """Its creation is written last."""
    threads.live(501, 5, created_ns=0)
    assert threads.read() == {}
    threads.live(501, 5)
    assert threads.exits() == {VM: 5}


@pytest.mark.parametrize(
    ("early_ns", "counts"), [(0, True), (10_000_000, True), (10_000_001, False), (10**9, False)]
)
def test_a_record_older_than_its_process_is_another_vms(
    threads: Threads, early_ns: int, counts: bool
) -> None:
    """A pid comes again; but for a clock tick's rounding, records are not handed down."""
    threads.live(501, 31, created_ns=VM.start_ns - early_ns)
    threads.ended(502, 37, created_ns=VM.start_ns - early_ns)
    assert threads.exits() == ({VM: 68} if counts else {})


def test_ended_counts_are_not_handed_to_the_next_process_of_that_pid(threads: Threads) -> None:
    """A new VM with an old pid begins at zero."""
    threads.live(501, 7)
    threads.read()
    threads.ended(501, 7)
    assert threads.exits() == {VM: 7}
    again = VmId(CREATED_NS + 10**9, VM.pid)
    threads.processes[VM.pid] = again
    threads.live(501, 3, again, created_ns=again.start_ns)
    assert threads.exits() == {again: 3}


def test_a_process_that_is_gone(threads: Threads) -> None:
    """Records of no VM are left out, and forgotten."""
    threads.live(501, 3, VmId(1, 777))
    threads.ended(502, 5, VmId(1, 777))
    threads.live(601, 7, OTHER)
    assert threads.exits() == {OTHER: 7}
    assert threads.vcpus.entries == (0 if isinstance(threads, NearThreads) else 2)


def test_a_process_is_identified_once_a_read(threads: Threads) -> None:
    """However many vCPUs it has."""
    for tid in range(64):
        threads.live(1000 + tid, 1)
    asked: list[int] = []

    def identify(pid: int) -> VmId | None:
        asked.append(pid)
        return threads.processes.get(pid)

    assert threads.reader.read(identify)[VM].counters["exits"][1] == 64
    assert asked == [VM.pid]


def io(threads: Threads, cell: int) -> int:
    return threads.read()[VM].counters["io"][cell]


def test_a_write_that_waits_is_settled_after_a_second(threads: Threads) -> None:
    """No event tells who handled it: after 1 s, and not before, the kernel did."""
    cell = 3 * 9 + 2
    threads.live(501, 5, pending_cell=cell + 1, io={cell: 41})
    seen = []
    for _ in range(3):
        seen.append(io(threads, cell))
        threads.clock.now += 0.5 - 1e-9
    assert seen == [41, 41, 41]
    threads.clock.now += 3e-9
    assert io(threads, cell) == 42
    assert io(threads, cell) == 42
    assert io(threads, cell + 1) == 0
    assert threads.exits() == {VM: 5}


def test_a_write_that_was_settled_is_not_counted_again(threads: Threads) -> None:
    """When the thread goes on, BPF counts it itself."""
    cell = 2
    threads.live(501, 5, pending_cell=cell + 1, io={cell: 41})
    assert io(threads, cell) == 41
    threads.clock.now += 1.0
    assert io(threads, cell) == 42
    threads.live(501, 5, io={cell: 42})
    assert io(threads, cell) == 42
    threads.live(501, 5, pending_cell=cell + 1, io={cell: 42})
    assert io(threads, cell) == 42
    threads.clock.now += 1.0
    assert io(threads, cell) == 43


def test_a_thread_that_goes_on_settles_its_own_writes(threads: Threads) -> None:
    """As long as its counters move, a pending write is a new one each time."""
    cell = 2
    for count in range(41, 47):
        threads.live(501, count, pending_cell=cell + 1, io={cell: count})
        assert io(threads, cell) == count
        threads.clock.now += 0.9
    threads.clock.now += 0.2
    assert io(threads, cell) == 47


def test_a_settled_write_stays_counted_when_its_thread_ends(threads: Threads) -> None:
    """Counters never go down, this one neither."""
    cell = 2
    threads.live(501, 5, pending_cell=cell + 1)
    assert io(threads, cell) == 0
    threads.clock.now += 1.0
    assert io(threads, cell) == 1
    threads.ended(501, 5, pending_cell=cell + 1)
    assert io(threads, cell) == 1


def test_a_settled_write_that_userspace_gets_after_all(threads: Threads) -> None:
    """Nothing is taken back: the next write that the kernel handles is the one that was told."""
    kernel, userspace = 2, 3
    threads.live(501, 5, pending_cell=kernel + 1, io={kernel: 41})
    assert io(threads, kernel) == 41
    threads.clock.now += 1.0
    assert io(threads, kernel) == 42
    threads.live(501, 6, io={kernel: 41, userspace: 1})
    assert (io(threads, kernel), io(threads, userspace)) == (42, 1)
    threads.live(501, 7, pending_cell=kernel + 1, io={kernel: 41, userspace: 1})
    threads.clock.now += 2.0
    assert io(threads, kernel) == 42
    threads.live(501, 8, io={kernel: 42, userspace: 1})
    assert io(threads, kernel) == 42
    threads.live(501, 9, io={kernel: 43, userspace: 1})
    assert io(threads, kernel) == 43


def test_what_was_told_is_kept_when_its_thread_ends(threads: Threads) -> None:
    """Nor is anything taken back from a VM whose vCPU is gone; another's write is its own."""
    cell = 2
    threads.live(501, 5, pending_cell=cell + 1)
    threads.live(502, 5, vcpu_id=1, io={cell: 3})
    assert io(threads, cell) == 3
    threads.clock.now += 1.0
    assert io(threads, cell) == 4
    threads.live(501, 5, io={cell + 1: 1})
    assert io(threads, cell) == 4
    threads.ended(501, 5, io={cell + 1: 1})
    assert (io(threads, cell), io(threads, cell + 1)) == (4, 1)


def test_by_vcpu(threads: Threads) -> None:
    """Each vCPU that lives has its own counters, ended ones are in the sum alone."""
    threads.live(501, 2, vcpu_id=0)
    threads.live(502, 3, vcpu_id=1)
    threads.live(601, 5, OTHER, vcpu_id=1)
    threads.ended(503, 7)
    counted = threads.read(by_vcpu=True)
    assert {vcpu: one["exits"][1] for vcpu, one in counted[VM].by_vcpu.items()} == {0: 2, 1: 3}
    assert {vcpu: one["exits"][1] for vcpu, one in counted[OTHER].by_vcpu.items()} == {1: 5}
    assert counted[VM].counters["exits"][1] == 12
