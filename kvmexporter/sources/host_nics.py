# SPDX-License-Identifier: Apache-2.0
"""How the host's NICs hang together: the bridge of a tap, the uplink of a bridge.

Reads the links `master` and `lower_*` of /sys/class/net/NIC, which bridges, Open vSwitch, bonds
and macvtap devices share, and whether `tun_flags` is there.
"""

import os
from pathlib import Path

_MAX_PORTS = 1024


class HostNics:
    """The network devices of a sysfs tree.

    Args:
        sysfs: where it is mounted.
    """

    def __init__(self, sysfs: Path) -> None:
        self._root = sysfs / "class/net"

    def bridge(self, nic: str) -> str:
        """What a NIC is a port of, "" if nothing, or if there is no such NIC."""
        try:
            return (self._root / nic / "master").readlink().name
        except OSError:
            return ""

    def lower(self, nic: str) -> tuple[str, ...]:
        """The NICs below another: a bridge's ports, a macvtap's carrier; by name."""
        try:
            names = [
                path.name.removeprefix("lower_")
                for path in (self._root / nic).iterdir()
                if path.name.startswith("lower_")
            ]
        except OSError:
            return ()
        return tuple(sorted(names)[:_MAX_PORTS])

    def is_tap(self, nic: str) -> bool:
        """Whether a NIC is a tun or tap device."""
        return os.path.exists(f"{self._root}/{nic}/tun_flags")  # noqa: PTH110 - of hundreds

    def uplink(self, nic: str) -> str:
        """The NIC by which a tap's packets leave the host, "" if none.

        The first port of its bridge that is no tap itself, else what it lies upon.
        """
        bridge = self.bridge(nic)
        ports = self.lower(bridge) if bridge else self.lower(nic)
        return next((port for port in ports if port != nic and not self.is_tap(port)), "")
