# SPDX-License-Identifier: Apache-2.0
"""Writes of vCPU threads whose handler no event has told yet; their records are in `vcpus`."""

from tests.unit.sources.vcpu_threads import VM, Threads


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
