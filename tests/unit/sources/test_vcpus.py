# SPDX-License-Identifier: Apache-2.0
"""Records of vCPU threads, added up by VM: in maps of the kernel's and in memory."""

import pytest

from kvmexporter.model.vm import VmId
from kvmexporter.tables.exit_reasons import Isa
from tests.unit.sources.vcpu_threads import CREATED_NS, OTHER, VM, NearThreads, Threads
from tests.unit.vcpu_records import layout_of_counters, record, retired_key


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
