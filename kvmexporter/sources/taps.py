# SPDX-License-Identifier: Apache-2.0
"""Which tap devices a VM's process holds, and how they are set up.

Reads the links in /proc/PID/fd and, of descriptors of /dev/net/tun, the line `iff:` of their
fdinfo (drivers/net/tun.c, tun_chr_show_fdinfo); /sys/class/net/TAP/tun_flags. A link takes about
4 µs, and a VMM has a hundred: whether a tap is still there and as many descriptors as before are
open takes 10 µs.
"""

import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kvmexporter.model.kept import Renewals
from kvmexporter.model.turns import Turns
from kvmexporter.model.vm import VmId
from kvmexporter.sources.procfs import content

_TUN = "/dev/net/tun"
_MAX_TAPS = 64
_MAX_NAME = 15
_MAX_BYTES = 32
_MAX_FDINFO_BYTES = 4096
_IFF = re.compile(rb"^iff:(.*)$", re.MULTILINE)
MOST_DESCRIPTORS = 256
"""As many are read each time, beside those of VMMs that are new."""

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


def is_name(name: str) -> bool:
    """Whether an interface can have this name, which a command line may have given it."""
    return name not in ("", ".", "..") and "/" not in name


def tap_flags(sysfs: Path, name: str) -> TapFlags | None:
    """How a tap device was made; None if there is no such device.

    Args:
        sysfs: where it is mounted.
        name: the interface.
    """
    if not is_name(name):
        return None
    try:
        flags = int(content(f"{sysfs}/class/net/{name}/tun_flags", _MAX_BYTES), 16)
    except ValueError:
        return None
    return TapFlags(bool(flags & _IFF_VNET_HDR), bool(flags & _IFF_MULTI_QUEUE))


@dataclass(frozen=True, slots=True)
class _Held:
    """What a process has open.

    Attributes:
        taps: descriptor → name of the tap device, at most 64.
        descriptors: how many it had open.
    """

    taps: Mapping[int, str] = field(default_factory=dict)
    descriptors: int = 0


class Taps:
    """The tap devices of VMMs, none of them told for longer than a minute after it is gone.

    A VMM's descriptors are all read at first sight, when there are more or fewer of them, when a
    tap is gone, and by turns.

    Args:
        procfs: where it is mounted.
        most_descriptors: how many are read each time, beside those of new VMMs.
    """

    def __init__(
        self, procfs: Path = Path("/proc"), most_descriptors: int = MOST_DESCRIPTORS
    ) -> None:
        self._procfs = procfs
        self._renewals: Renewals[VmId] = Renewals()
        self._turns: Turns[VmId] = Turns(most_descriptors)
        self._held: dict[VmId, _Held] = {}
        self._changed: set[VmId] = set()
        self._hidden: set[VmId] = set()

    @property
    def hides_some(self) -> bool:
        """Whether the descriptors of a VMM may not be seen."""
        return bool(self._hidden)

    def look(self, now: float, vms: Collection[VmId]) -> None:
        """Look at those whose turn it is, once at a time; forget all others.

        Args:
            now: seconds, CLOCK_MONOTONIC.
            vms: everybody there is.
        """
        due = self._renewals.take(now, vms)
        if not due:
            return
        known = {vm: held for vm in vms if (held := self._held.get(vm))}
        self._held = known
        self._hidden &= set(vms)
        self._changed &= set(vms)
        for vm in due:
            if vm in known:
                self._check(vm, known[vm])
        scanned = self._turns.take(
            {vm: max(held.descriptors, 1) for vm, held in known.items()}, self._changed
        )
        for vm in (*scanned, *(vm for vm in due if vm not in known)):
            self._scan(vm)

    def of(self, vm: VmId) -> Mapping[int, str]:
        """Descriptor → name of the tap devices of a VMM that was there at the last look."""
        return self._held[vm].taps

    def _check(self, vm: VmId, held: _Held) -> None:
        """Forget taps that are gone, and note whether others may have come."""
        process = f"{self._procfs}/{vm.pid}"
        try:
            descriptors = _count(process, held.descriptors)
            # A tap's queues come and go with it; one of them alone changes their number.
            names = dict(zip(held.taps.values(), held.taps, strict=True))
            there = {name for name, fd in names.items() if _name(process, fd) == name}
        except PermissionError:
            self._hidden.add(vm)
            return
        except (FileNotFoundError, ProcessLookupError):
            return
        if len(there) < len(names) or descriptors != held.descriptors:
            self._changed.add(vm)
            taps = {fd: name for fd, name in held.taps.items() if name in there}
            self._held[vm] = _Held(taps, held.descriptors)

    def _scan(self, vm: VmId) -> None:
        """Read all descriptors of a VMM.

        Once privileges are given up, what was seen before is all that there is; so it is if the
        process is gone, or hidden as if it were.
        """
        self._held.setdefault(vm, _Held())
        self._changed.discard(vm)
        try:
            self._held[vm] = _held(f"{self._procfs}/{vm.pid}")
            self._hidden.discard(vm)
        except PermissionError:
            self._hidden.add(vm)
        except (FileNotFoundError, ProcessLookupError):
            pass


def _held(process: str) -> _Held:
    """What a process has open.

    Raises:
        PermissionError: that may not be seen.
        FileNotFoundError, ProcessLookupError: it is gone.
    """
    found: dict[int, str] = {}
    descriptors = os.listdir(f"{process}/fd")  # noqa: PTH208 - of hundreds
    for fd in descriptors:
        if _link(f"{process}/fd/{fd}") == _TUN and (name := _name(process, int(fd))):
            found[int(fd)] = name
            if len(found) == _MAX_TAPS:
                break
    return _Held(found, len(descriptors))


def _count(process: str, before: int) -> int:
    """How many descriptors a process has open, for less than a listing if they are as many.

    Linux 6.2 and newer tell it as the directory's size ("proc: report open files as size in
    stat() for /proc/pid/fd").
    """
    if os.stat(f"{process}/fd").st_size == before:  # noqa: PTH116 - of hundreds
        return before
    return len(os.listdir(f"{process}/fd"))  # noqa: PTH208 - of hundreds


def _link(path: str) -> str:
    try:
        return os.readlink(path)  # noqa: PTH115 - a Path for each of thousands is dear
    except PermissionError:  # all of this process's
        raise
    except OSError:  # closed meanwhile
        return ""


def _name(process: str, fd: int) -> str:
    """The interface that a descriptor is attached to, "" if none.

    Raises:
        PermissionError: that may not be seen.
    """
    try:
        opened = os.open(f"{process}/fdinfo/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    except PermissionError:
        raise
    except OSError:  # closed meanwhile
        return ""
    try:
        text = os.read(opened, _MAX_FDINFO_BYTES)
    except OSError:  # it ended meanwhile
        return ""
    finally:
        os.close(opened)
    found = _IFF.search(text)
    return found[1].decode(errors="replace").strip()[:_MAX_NAME] if found else ""
