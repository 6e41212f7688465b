# SPDX-License-Identifier: Apache-2.0
"""KVM's own counters of a VM, as debugfs shows them.

Source: `DEBUGFS/kvm/TID-FD/NAME`, virt/kvm/kvm_main.c: TID is the thread that created the
VM. One small file a counter, for which the kernel adds up the VM's vCPUs. Only the names
asked for are opened. Not all of that directory may be: to read `mmu_rmaps_stat` takes the
MMU lock and keeps the guest waiting.

Only root comes through the root of debugfs; what is below it anyone may read. So the directory is
kept open, for who gives up root later.
"""

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Self

_MAX_BYTES = 32
_FORBIDDEN = "mmu_rmaps_stat"


class Debugfs:
    """KVM's directory of a debugfs tree.

    Args:
        root: where debugfs is mounted.
    """

    def __init__(self, root: Path = Path("/sys/kernel/debug")) -> None:
        self.root = root
        self._kvm = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the directory; safe to repeat."""
        if self._kvm >= 0:
            os.close(self._kvm)
            self._kvm = -1

    def open(self) -> bool:
        """Open the directory; where that is not allowed any more, the one that is open stays.

        Returns:
            whether one is open.
        """
        try:
            opened = os.open(self.root / "kvm", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return self._kvm >= 0
        self.close()
        self._kvm = opened
        return True

    def vms(self) -> dict[int, list[str]]:
        """The thread that created a VM → its directories; empty if they may not be seen."""
        found: dict[int, list[str]] = {}
        # Each time: the one that is open is of no use any more if kvm was loaded anew.
        if not self.open():
            return found
        for name in os.listdir(self._kvm):  # noqa: PTH208 - a descriptor
            creator, _, fd = name.partition("-")
            if creator.isdecimal() and fd.isdecimal():
                found.setdefault(int(creator), []).append(name)
        return found

    def stats(self, directories: Iterable[str], names: Collection[str]) -> dict[str, int]:
        """Counters of a VM; one that this kernel does not have is left out.

        Args:
            directories: as `vms` gave them; those of several VMs are added up.
            names: of the counters.

        Raises:
            ValueError: a name that must not be opened.
        """
        if _FORBIDDEN in names:
            raise ValueError(f"{_FORBIDDEN} takes the MMU lock")
        totals: dict[str, int] = {}
        for directory in directories:
            for name in names:
                value = self._number(f"{directory}/{name}")
                if value is not None:
                    totals[name] = totals.get(name, 0) + value
        return totals

    def _number(self, path: str) -> int | None:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC, dir_fd=self._kvm)
        except OSError:  # not in this kernel, gone with its VM, or forbidden
            return None
        try:
            return int(os.read(fd, _MAX_BYTES))
        except (OSError, ValueError):
            return None
        finally:
            os.close(fd)
