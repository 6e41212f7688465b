# SPDX-License-Identifier: Apache-2.0
"""Which tap devices a VM's process holds, and how they are set up.

Reads the links in /proc/PID/fd and, of descriptors of /dev/net/tun, the line `iff:` of their
fdinfo (drivers/net/tun.c, tun_chr_show_fdinfo); /sys/class/net/TAP/tun_flags.
"""

import os
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from kvmexporter.sources.procfs import content

_TUN = "/dev/net/tun"
_MAX_TAPS = 64
_MAX_NAME = 15
_MAX_BYTES = 32
_FRESH_SECONDS = 60.0

# include/uapi/linux/if_tun.h
_IFF_MULTI_QUEUE = 0x0100
_IFF_VNET_HDR = 0x4000


@dataclass(frozen=True, slots=True)
class TapFlags:
    """How a tap device was made.

    Attributes:
        vnet_hdr: packets carry a virtio header, so that offloads pass.
        multi_queue: it can have several queues.
    """

    vnet_hdr: bool
    multi_queue: bool


def taps(procfs: Path, pid: int) -> Mapping[int, str] | None:
    """Descriptor → name of the tap devices of a process, at most 64.

    Args:
        procfs: where it is mounted.
        pid: the process.

    Returns:
        None if the process is gone, or hidden as if it were.

    Raises:
        PermissionError: its descriptors may not be seen.
    """
    found: dict[int, str] = {}
    directory = procfs / str(pid)
    try:
        with os.scandir(directory / "fd") as entries:
            for entry in entries:
                if _link(entry.path) == _TUN and (name := _name(directory, entry.name)):
                    found[int(entry.name)] = name
                    if len(found) == _MAX_TAPS:
                        break
    except (FileNotFoundError, ProcessLookupError):
        return None
    return found


def _link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - a Path for each of thousands is dear
    except PermissionError:  # all of this process's
        raise
    except OSError:  # closed meanwhile
        return ""


def _name(directory: Path, fd: str) -> str:
    """The interface that a descriptor is attached to, "" if none."""
    try:
        text = (directory / "fdinfo" / fd).read_text(errors="replace")
    except OSError:
        return ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key == "iff":
            return value.strip()[:_MAX_NAME]
    return ""


def tap_flags(sysfs: Path, name: str) -> TapFlags | None:
    """How a tap device was made; None if there is no such device.

    Args:
        sysfs: where it is mounted.
        name: the interface.
    """
    if not name or "/" in name or name in (".", ".."):
        return None
    try:
        flags = int(content(f"{sysfs}/class/net/{name}/tun_flags", _MAX_BYTES), 16)
    except ValueError:
        return None
    return TapFlags(bool(flags & _IFF_VNET_HDR), bool(flags & _IFF_MULTI_QUEUE))


class Taps:
    """The tap devices of processes, looked up anew once a minute at most.

    A look costs a readlink for each of a process's descriptors, a few hundred of them.

    Args:
        procfs: where it is mounted.
        monotonic: the clock, in seconds.
    """

    def __init__(
        self, procfs: Path = Path("/proc"), monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._procfs = procfs
        self._monotonic = monotonic
        self._known: dict[int, tuple[float, Mapping[int, str]]] = {}
        self._hidden: set[int] = set()

    @property
    def hides_some(self) -> bool:
        """Whether the descriptors of a process may not be seen."""
        return bool(self._hidden)

    def of(self, pid: int) -> Mapping[int, str]:
        """Descriptor → name of the tap devices of a process, at most a minute old."""
        now = self._monotonic()
        known = self._known.get(pid)
        if known is None or now - known[0] >= _FRESH_SECONDS:
            found = None
            try:
                found = taps(self._procfs, pid)
                self._hidden.discard(pid)
            except PermissionError:
                self._hidden.add(pid)
            if found is None:
                # Once privileges are given up, what was seen before is all that there is.
                found = known[1] if known else {}
            known = self._known[pid] = now, found
        return known[1]

    def keep(self, pids: Collection[int]) -> None:
        """Forget all other processes."""
        self._known = {pid: known for pid, known in self._known.items() if pid in pids}
        self._hidden &= set(pids)
