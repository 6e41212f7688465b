# SPDX-License-Identifier: Apache-2.0
"""A procfs tree in a directory, for `Procfs(root=...)`."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from kvmexporter.sources.procfs import Procfs

# proc(5): no process of this machine can have such a pid (PID_MAX_LIMIT is 2^22).
NO_REAL_PID = 5_000_000

# Of ticks a second, as sysconf(_SC_CLK_TCK) says everywhere but on Alpha and ia64.
NS_PER_TICK = 10_000_000


class ProcfsTree:
    """Processes as files.

    Args:
        root: an existing directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.procfs = Procfs(root)

    def process(
        self,
        pid: int,
        arguments: Sequence[str] = (),
        start_ticks: int = 1000,
        vms: int = 1,
        vcpus: int = 1,
        flags: int = 0x400100,
        name: str = "qemu",
        resident_pages: int = 4096,
    ) -> None:
        """Add a process, or let another take its pid."""
        self.end(pid)
        place = self.root / str(pid)
        (place / "fd").mkdir(parents=True)
        links = ["/dev/null", "socket:[4242]", "anon_inode:kvm"]
        links += ["anon_inode:kvm-vm"] * vms
        links += [f"anon_inode:kvm-vcpu:{number}" for number in range(vcpus)]
        for fd, target in enumerate(links):
            (place / "fd" / str(fd)).symlink_to(target)
        command_line = "".join(f"{argument}\0" for argument in arguments)
        (place / "cmdline").write_bytes(command_line.encode(errors="surrogateescape"))
        fields = ["S", 1, pid, pid, 0, -1, flags, *[0] * 12]
        fields += [start_ticks, 0, resident_pages, *[0] * 28]
        (place / "stat").write_text(f"{pid} ({name}) {' '.join(map(str, fields))}\n")

    def end(self, pid: int) -> None:
        """Remove a process; one that is not there is no error."""
        if (self.root / str(pid)).exists():
            shutil.rmtree(self.root / str(pid))
