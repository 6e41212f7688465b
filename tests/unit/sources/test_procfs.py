# SPDX-License-Identifier: Apache-2.0
"""Processes, from a procfs tree and from the real one."""

import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from kvmexporter.sources.procfs import KvmDescriptors, KvmProcesses, Procfs, Running
from tests.unit.procfs_tree import ProcfsTree


def test_pids(tree: ProcfsTree) -> None:
    """Processes only, whatever else procfs holds."""
    tree.process(7)
    tree.process(4242)
    for name in ("self", "1x", "cpuinfo", "irq"):
        (tree.root / name).mkdir()
    assert sorted(tree.procfs.pids()) == [7, 4242]


@pytest.mark.parametrize(
    "name", ["qemu", "", ")", ") S 1 1 1", "a b (c) d", "\N{PENGUIN}", "CPU 1/KVM"]
)
def test_start(tree: ProcfsTree, name: str) -> None:
    """The start is found whatever the process calls itself."""
    tree.process(7, start_ticks=123_457, name=name, resident_pages=1009)
    assert tree.procfs.running(7) == Running(123_457, 1009 * tree.procfs.page_size)


def test_nobody(tree: ProcfsTree) -> None:
    """A process that is gone has nothing, and is no error."""
    assert tree.procfs.running(7) is None
    assert tree.procfs.command_line(7) == ()
    assert tree.procfs.kvm_descriptors(7) == KvmDescriptors(0, 0)
    assert not tree.procfs.is_kernel_thread(7)


@pytest.mark.parametrize(("flags", "expected"), [(0x00200000, True), (0x00400100, False)])
def test_kernel_threads(tree: ProcfsTree, flags: int, expected: bool) -> None:
    """They are told by their flag."""
    tree.process(7, flags=flags)
    assert tree.procfs.is_kernel_thread(7) is expected


@pytest.mark.parametrize(
    "arguments",
    [
        ("qemu-system-x86_64", "-name", "guest=a b"),
        ("qemu", "", "-S"),
        ("x" * 10_000,),
        ("two\nlines", "\x1b[0m", '"quoted"', "Größe"),
    ],
)
def test_command_line(tree: ProcfsTree, arguments: tuple[str, ...]) -> None:
    """The arguments as they are, empty ones and long ones too."""
    tree.process(7, arguments)
    assert tree.procfs.command_line(7) == arguments


def test_a_command_line_that_is_no_text(tree: ProcfsTree) -> None:
    """Bytes that are no UTF-8 are replaced, not an error."""
    tree.process(7)
    (tree.root / "7" / "cmdline").write_bytes(b"qemu\0\xff\xfe\0")
    assert tree.procfs.command_line(7) == ("qemu", "\ufffd\ufffd")


def test_a_command_line_is_read_up_to_a_bound(tree: ProcfsTree) -> None:
    """Nobody makes the exporter read without end."""
    tree.process(7, ["x" * (3 << 20)])
    assert sum(map(len, tree.procfs.command_line(7))) == 1 << 20


def test_a_kernel_thread_has_no_command_line(tree: ProcfsTree) -> None:
    """A kernel thread, or a process that has ended but still is there, has no arguments."""
    tree.process(7, ())
    assert tree.procfs.command_line(7) == ()


@pytest.mark.parametrize(("vms", "vcpus"), [(0, 0), (1, 0), (1, 1), (1, 17), (2, 5)])
def test_kvm_descriptors(tree: ProcfsTree, vms: int, vcpus: int) -> None:
    """Only those of VMs and vCPUs count."""
    tree.process(7, vms=vms, vcpus=vcpus)
    (tree.root / "7" / "fd" / "100").symlink_to("anon_inode:kvm-device")
    (tree.root / "7" / "fd" / "101").symlink_to("anon_inode:kvm-vcpu-stats:0")
    (tree.root / "7" / "fd" / "102").symlink_to("/tmp/anon_inode:kvm-vm")
    assert tree.procfs.kvm_descriptors(7) == KvmDescriptors(vms, vcpus)


def test_what_may_not_be_seen(tree: ProcfsTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process whose descriptors are closed may have a VM; init and kernel threads have none."""
    closed: set[str] = set()
    scandir = os.scandir

    def guarded(path: str | Path) -> Any:
        # Root reads whatever a test could close.
        if Path(path).name == "fd" and Path(path).parent.name in closed:
            raise PermissionError(path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    for pid in (1, 7, 8):
        tree.process(pid, vms=0)
    tree.process(2, (), flags=0x00200000, vms=0)
    tree.process(9)
    for closed_now, is_complete in (((), True), (("1", "2"), True), (("1", "7"), False)):
        closed = set(closed_now)
        assert tree.procfs.kvm_processes() == KvmProcesses(
            {9: KvmDescriptors(1, 1)}, is_complete=is_complete
        )


def test_a_procfs_that_hides_others(tree: ProcfsTree) -> None:
    """Hidepid leaves out even the first process."""
    tree.process(7)
    (tree.root / "self").symlink_to("7")
    assert not tree.procfs.kvm_processes().is_complete
    tree.process(1, vms=0)
    assert tree.procfs.kvm_processes().is_complete


@pytest.mark.parametrize(
    ("text", "flags"),
    [
        ("processor\t: 0\nflags\t\t: fpu vme svm\n\nflags\t\t: fpu\n", {"fpu", "vme", "svm"}),
        ("Features\t: fp asimd\n", {"fp", "asimd"}),
        ("flags\t\t:\n", set()),
        ("processor\t: 0\nmodel name\t: flags : x\n", set()),
        ("", set()),
    ],
)
def test_cpu_flags(tree: ProcfsTree, text: str, flags: set[str]) -> None:
    """Those of the first processor, on x86 and arm64."""
    (tree.root / "cpuinfo").write_text(text)
    assert tree.procfs.cpu_flags() == flags


def test_the_real_one() -> None:
    """This process is found, with a start and its arguments."""
    procfs = Procfs()
    pid = os.getpid()
    assert pid in set(procfs.pids())
    running = procfs.running(pid)
    assert running
    assert running.start_ticks > 0
    resident = psutil.Process(pid).memory_info().rss
    assert running.resident_bytes == pytest.approx(resident, rel=0.1)
    assert len(procfs.command_line(pid)) > 0
    assert procfs.kvm_descriptors(pid) == KvmDescriptors(0, 0)
    assert not procfs.is_kernel_thread(pid)
