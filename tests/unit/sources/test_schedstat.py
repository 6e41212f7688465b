# SPDX-License-Identifier: Apache-2.0
"""Threads, from a procfs tree and from the real one."""

import os
import re
import threading
import time
from pathlib import Path

import pytest

from kvmexporter.sources.schedstat import NamedThreads, Schedstat, ThreadTimes
from tests.unit.thread_tree import ThreadTree

PID = 10


@pytest.fixture
def threads(tmp_path: Path) -> ThreadTree:
    return ThreadTree(tmp_path)


def test_times(threads: ThreadTree) -> None:
    """The first two fields, in nanoseconds."""
    threads.thread(PID, 11, "CPU 0/KVM", 1_000_003, 2_000_003)
    assert Schedstat(threads.root).times(PID, 11) == ThreadTimes(1_000_003, 2_000_003)


@pytest.mark.parametrize("content", ["0 0 0\n", "", "7\n"])
def test_no_account(threads: ThreadTree, content: str) -> None:
    """A kernel that keeps none writes zeros; that is not a time."""
    threads.thread(PID, 11, "x")
    (threads.root / f"{PID}/task/11/schedstat").write_text(content)
    assert Schedstat(threads.root).times(PID, 11) is None


def test_nobody(threads: ThreadTree) -> None:
    """What is gone has nothing, and is no error."""
    schedstat = Schedstat(threads.root)
    assert schedstat.times(PID, 11) is None
    assert schedstat.tids(PID) == []
    assert schedstat.name(PID, 11) == ""


def test_threads_and_names(threads: ThreadTree) -> None:
    """As they are, whatever they call themselves."""
    names = {11: "CPU 0/KVM", 12: "a b)", 13: "Größe", 14: ""}
    for tid, name in names.items():
        threads.thread(PID, tid, name)
    schedstat = Schedstat(threads.root)
    assert sorted(schedstat.tids(PID)) == list(names)
    assert {tid: schedstat.name(PID, tid) for tid in names} == names


def test_kernel_threads(threads: ThreadTree) -> None:
    """The children of kthreadd; process 2 of a PID namespace may be anybody."""
    schedstat = Schedstat(threads.root)
    assert schedstat.kernel_threads() == []
    threads.kernel_threads(3, 97)
    assert schedstat.kernel_threads() == [3, 97]
    threads.thread(2, 2, "bash")
    assert schedstat.kernel_threads() == []


def test_kernel_threads_that_the_kernel_does_not_list(threads: ThreadTree) -> None:
    """Without CONFIG_PROC_CHILDREN there is no list."""
    threads.thread(2, 2, "kthreadd")
    assert Schedstat(threads.root).kernel_threads() == []


class Names:
    """Names that count how often they are read."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.reads: list[int] = []

    def __call__(self, tid: int) -> str:
        self.reads.append(tid)
        return self.names.get(tid, "")


def test_names_of_others_are_read_twice() -> None:
    """Then never again, until another thread has the number."""
    names = Names()
    names.names = {1: "kworker/0:1", 2: "vhost-10"}
    named = NamedThreads(names, re.compile(r"vhost-(?P<owner>\d+)"))
    owners = [
        {tid: matched["owner"] for tid, matched in named.among([1, 2]).items()} for _ in range(4)
    ]
    assert owners == [{2: "10"}] * 4
    assert (names.reads.count(1), names.reads.count(2)) == (2, 4)
    assert named.among([2])
    named.among([1, 2])
    assert names.reads.count(1) == 3


def test_a_thread_that_is_named_late() -> None:
    """It begins with its parent's name."""
    names = Names()
    names.names = {2: "kthreadd"}
    named = NamedThreads(names, re.compile(r"vhost-\d+"))
    assert named.among([2]) == {}
    names.names = {2: "vhost-10"}
    assert list(named.among([2])) == [2]


def test_the_whole_name_counts() -> None:
    """`CPU 1` is not `CPU 10`, and no vhost worker has a suffix."""
    names = Names()
    names.names = {1: "vhost-10x", 2: "xvhost-10", 3: "vhost-"}
    assert NamedThreads(names, re.compile(r"vhost-\d+")).among([1, 2, 3]) == {}


def test_this_thread() -> None:
    """A real thread that works has its time, and no more than has passed."""
    schedstat = Schedstat()
    pid, tid = os.getpid(), threading.get_native_id()
    assert tid in schedstat.tids(pid)
    before = schedstat.times(pid, tid)
    if before is None:
        pytest.skip("this kernel keeps no account of threads (schedstats and delayacct are off)")
    begin, cpu = time.monotonic_ns(), time.thread_time_ns()
    while time.thread_time_ns() - cpu < 30_000_000:
        pass
    after = schedstat.times(pid, tid)
    passed = time.monotonic_ns() - begin
    assert after
    ran = after.cpu_ns - before.cpu_ns
    # Brought up to date by the scheduler's tick: 1 to 10 ms behind.
    assert 15_000_000 <= ran <= passed + 20_000_000
    assert 0 <= after.run_delay_ns - before.run_delay_ns <= passed
