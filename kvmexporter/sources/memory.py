# SPDX-License-Identifier: Apache-2.0
"""The memory of the host, of the processes that run VMs, and what KSM does with it.

Source: proc(5), Documentation/admin-guide/mm/ksm.rst, Documentation/accounting/psi.rst.
/proc/PID/status takes 20 µs a VM and /proc/PID/ksm_stat 15 µs; /proc/meminfo and seven small
files in /sys/kernel/mm/ksm are read once; so are, in a guest, /proc/vmstat, /proc/pressure/memory
and /proc/buddyinfo. Transparent huge pages are not told: only /proc/PID/smaps_rollup has them,
and that walks the page tables under the process's lock, 5 ms for a gibibyte.
"""

from pathlib import Path

from kvmexporter.model import memory as model
from kvmexporter.model.guest_memory import GuestMemory, guest_memory
from kvmexporter.model.memory import HostMemory, Ksm, ProcessMemory
from kvmexporter.sources.procfs import Procfs, content
from kvmexporter.sources.sysfs import Sysfs

_MAX_BYTES = 1 << 16
_KSM_FILES = (
    "run", "pages_shared", "pages_sharing", "pages_unshared", "pages_volatile", "full_scans",
    "general_profit",
)  # fmt: skip


class Memory:
    """Memory as procfs and sysfs show it.

    Args:
        procfs: where processes are.
        sysfs: where the kernel's own state is.
    """

    def __init__(self, procfs: Procfs, sysfs: Sysfs) -> None:
        self._root = procfs.root
        self._page_size = procfs.page_size
        self._sysfs = sysfs

    def process(self, pid: int, *, merged: bool = True) -> ProcessMemory | None:
        """A process's memory; None if it is gone or may not be seen.

        Args:
            pid: the process.
            merged: whether what KSM merged of it may be anything.
        """
        kinds = model.process_kinds(content(f"{self._root}/{pid}/status", _MAX_BYTES))
        if not kinds:
            return None
        if not merged:
            return ProcessMemory(kinds)
        ksm_stat = content(f"{self._root}/{pid}/ksm_stat", _MAX_BYTES).decode(errors="replace")
        return ProcessMemory(kinds, model.merged_bytes(ksm_stat, self._page_size))

    def host(self) -> HostMemory:
        """What the host has; zeros where procfs does not say."""
        return model.host_memory(_text(self._root / "meminfo"))

    def guest(self) -> GuestMemory:
        """This system's own memory, as a guest's; empty where procfs does not say."""
        return guest_memory(
            _text(self._root / "vmstat"),
            _text(self._root / "pressure/memory"),
            _text(self._root / "buddyinfo"),
            self._page_size,
        )

    def ksm(self) -> Ksm | None:
        """What KSM does; None if the kernel has none."""
        return model.ksm(self._sysfs.numbers("kernel/mm/ksm", _KSM_FILES), self._page_size)


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode(errors="replace")
    except OSError:
        return ""
