# SPDX-License-Identifier: Apache-2.0
"""Processes as /proc shows them: who runs a VM, since when, with which arguments.

Source: proc(5). A scan for VMs reads one directory of links per process, about
2 µs a link; everything else is one small file.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

KVM_VM_LINK = "anon_inode:kvm-vm"
KVM_VCPU_LINK = "anon_inode:kvm-vcpu:"

_MAX_COMMAND_LINE_BYTES = 1 << 20
# proc(5): the fields after the command's closing parenthesis begin with the third.
_START_TIME_FIELD = 22 - 3
_RESIDENT_FIELD = 24 - 3
_FLAGS_FIELD = 9 - 3
_PF_KTHREAD = 0x00200000
_INIT = 1
_MAX_STATUS_BYTES = 16384
_MAX_STAT_BYTES = 4096
_UID = re.compile(rb"^Uid:\s*\d+\s+(\d+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class KvmDescriptors:
    """What a process holds of KVM.

    Attributes:
        vms: VM descriptors.
        vcpus: vCPU descriptors.
    """

    vms: int
    vcpus: int


class Running(NamedTuple):
    """A process.

    Attributes:
        start_ticks: when it started, in clock ticks since boot.
        resident_bytes: memory that it occupies.
    """

    start_ticks: int
    resident_bytes: int


@dataclass(frozen=True, slots=True)
class KvmProcesses:
    """The processes that hold a KVM VM descriptor.

    Attributes:
        found: pid → what it holds of KVM.
        is_complete: whether all that may be VMMs were looked at; others may hold one, too.
    """

    found: Mapping[int, KvmDescriptors]
    is_complete: bool


class Procfs:
    """A procfs tree.

    Args:
        root: where it is mounted.
    """

    def __init__(self, root: Path = Path("/proc")) -> None:
        self.root = root
        self.ticks_per_second = os.sysconf("SC_CLK_TCK")
        self.page_size = os.sysconf("SC_PAGE_SIZE")

    def pids(self) -> Iterator[int]:
        """Every process."""
        for entry in os.scandir(self.root):
            if entry.name.isdecimal():
                yield int(entry.name)

    def running(self, pid: int) -> Running | None:
        """A process as it is now; None if there is none."""
        fields = self._stat(pid)
        if not fields:
            return None
        resident = int(fields[_RESIDENT_FIELD]) * self.page_size
        return Running(int(fields[_START_TIME_FIELD]), resident)

    def is_kernel_thread(self, pid: int) -> bool:
        """Whether it has no user space at all."""
        fields = self._stat(pid)
        return bool(fields) and bool(int(fields[_FLAGS_FIELD]) & _PF_KTHREAD)

    def uid(self, pid: int) -> int | None:
        """The user that a process runs as (its effective one); None if it is gone."""
        found = _UID.search(content(f"{self.root}/{pid}/status", _MAX_STATUS_BYTES))
        return int(found[1]) if found else None

    def command_line(self, pid: int) -> tuple[str, ...]:
        """The arguments of a process, empty if it has none to show: gone, or a kernel thread."""
        data = content(f"{self.root}/{pid}/cmdline", _MAX_COMMAND_LINE_BYTES).rstrip(b"\0")
        if not data:
            return ()
        return tuple(argument.decode(errors="replace") for argument in data.split(b"\0"))

    def kvm_descriptors(self, pid: int) -> KvmDescriptors:
        """Count a process's KVM descriptors; none of a process that is gone.

        Raises:
            PermissionError: its descriptors may not be seen (that takes CAP_SYS_PTRACE).
        """
        vms = vcpus = 0
        try:
            with os.scandir(self.root / str(pid) / "fd") as entries:
                for entry in entries:
                    target = _link(entry.path)
                    vms += target == KVM_VM_LINK
                    vcpus += target.startswith(KVM_VCPU_LINK)
        except (FileNotFoundError, ProcessLookupError):
            pass
        return KvmDescriptors(vms, vcpus)

    def kvm_processes(self) -> KvmProcesses:
        """The processes that hold a KVM VM descriptor; without those that may not be seen."""
        found = {}
        pids = set(self.pids())
        # Every PID namespace has a first process; hidepid shows others' to nobody.
        is_complete = _INIT in pids or not (self.root / "self").is_symlink()
        for pid in pids:
            try:
                descriptors = self.kvm_descriptors(pid)
            except PermissionError:
                # The first process may be closed to all, and is no VMM; kernel threads are none.
                is_complete &= pid == _INIT or self.is_kernel_thread(pid)
                continue
            if descriptors.vms:
                found[pid] = descriptors
        return KvmProcesses(found, is_complete)

    def cpu_flags(self) -> frozenset[str]:
        """The feature flags of the first processor."""
        for line in (self.root / "cpuinfo").read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("flags", "Features"):
                return frozenset(value.split())
        return frozenset()

    def _stat(self, pid: int) -> list[bytes]:
        """The fields of /proc/PID/stat from the third on, empty if there is no process."""
        data = content(f"{self.root}/{pid}/stat", _MAX_STAT_BYTES)  # hidepid, perhaps: nothing
        return data[data.rindex(b")") + 2 :].split() if data else []


def content(path: str, most: int) -> bytes:
    """The beginning of a small file, nothing of one that is gone or may not be read.

    Several of them are read of each VM in each scrape: a Path and a file object would take twice
    as long as the kernel.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, most)
    except OSError:  # it ended meanwhile
        return b""
    finally:
        os.close(fd)


def _link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - a Path for each of thousands is dear
    except FileNotFoundError:  # closed meanwhile
        return ""
