# SPDX-License-Identifier: Apache-2.0
"""How the host's NICs hang together: the bridge of a tap, the uplink of a bridge.

Reads the links `master` and `lower_*` of /sys/class/net/NIC, which bridges, Open vSwitch, bonds
and macvtap devices share, and `tun_flags`; 15 µs a tap.
"""

import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from kvmexporter.model.kept import Kept
from kvmexporter.sources.taps import TapFlags, is_name, tap_flags

_LOWER = "lower_"
_MAX_PORTS = 1024
# A NIC is no uplink of its own.
_MAX_UPLINKS = 2


class _Nic(NamedTuple):
    """A NIC.

    Attributes:
        flags: how it was made if it is a tun or tap device.
        bridge: what it is a port of, "" if nothing.
        uplinks: what it lies upon where it is no port.
    """

    flags: TapFlags | None = None
    bridge: str = ""
    uplinks: tuple[str, ...] = ()


class HostNics:
    """The network devices of a sysfs tree, as they were at most a minute ago.

    Args:
        sysfs: where it is mounted.
    """

    def __init__(self, sysfs: Path = Path("/sys")) -> None:
        self._sysfs = sysfs
        self._root = f"{sysfs}/class/net"
        self._nics = Kept(self._nic)
        self._bridges = Kept(self._uplinks)

    def look(self, now: float, nics: Collection[str]) -> None:
        """Look at those whose turn it is, and at their bridges; forget all others.

        Args:
            now: seconds, CLOCK_MONOTONIC.
            nics: those that will be asked about.
        """
        self._nics.look(now, nics)
        bridges = dict.fromkeys(map(self.bridge, nics))
        bridges.pop("", None)
        self._bridges.look(now, bridges)

    def is_tap(self, nic: str) -> bool:
        """Whether a NIC is a tun or tap device."""
        return self._nics.of(nic).flags is not None

    def flags(self, nic: str) -> TapFlags | None:
        """How a tap device was made; None of what is none."""
        return self._nics.of(nic).flags

    def bridge(self, nic: str) -> str:
        """What a NIC is a port of, "" if nothing, or if there is no such NIC."""
        return self._nics.of(nic).bridge

    def uplink(self, nic: str) -> str:
        """The NIC by which a tap's packets leave the host, "" if none.

        The first port of its bridge that is no tap itself, else what it lies upon.
        """
        _, bridge, uplinks = self._nics.of(nic)
        if bridge:
            uplinks = self._bridges.of(bridge)
        return next((port for port in uplinks if port != nic), "")

    def _nic(self, nic: str) -> _Nic:
        if not is_name(nic):
            return _Nic()
        flags = tap_flags(self._sysfs, nic)
        try:
            bridge = os.readlink(f"{self._root}/{nic}/master")  # noqa: PTH115 - of hundreds
        except OSError:
            # A tap lies upon nothing.
            return _Nic(flags, "", () if flags else self._uplinks(nic))
        return _Nic(flags, bridge.rpartition("/")[2])

    def _uplinks(self, nic: str) -> tuple[str, ...]:
        """The first NICs below another that are no taps: a bridge's ports, a macvtap's carrier."""
        try:
            entries = os.listdir(f"{self._root}/{nic}")  # noqa: PTH208 - of hundreds
        except OSError:
            return ()
        found: list[str] = []
        lower = sorted(name for name in entries if name.startswith(_LOWER))
        for port in lower[:_MAX_PORTS]:
            name = port.removeprefix(_LOWER)
            # Hundreds of VMs' taps may be ports of one bridge, and it was just seen what they are.
            known = self._nics.get(name)
            if not (known.flags if known else tap_flags(self._sysfs, name)):
                found.append(name)
                if len(found) == _MAX_UPLINKS:
                    break
        return tuple(found)
