# SPDX-License-Identifier: Apache-2.0
"""The lab's KVM host as a test sees it: guests to start, taps to plug them into, a clean end.

Runs inside the lab only, as root.  Everything it makes (processes, taps, directories in memory)
goes when it is closed.
"""

import itertools
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from tests.lab.devices import TapNic
from tests.lab.guests import LinuxGuest
from tests.lab.libvirt import Libvirt

_LOGS = ("console.log", "qemu.log", "hvc0.log", "libvirtd.log", "virtlogd.log")


def ip(arguments: str) -> str:
    """Run iproute2's `ip` on the host and return its output."""
    done = subprocess.run(["ip", *arguments.split()], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise OSError(f"ip {arguments}: {done.stderr.strip()}")
    return done.stdout


class Host:
    """The guests and networks of one test (or of one module of tests)."""

    _networks = itertools.count(1)

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="lab-", dir="/run"))
        self._guests: list[LinuxGuest] = []
        self._interfaces: list[str] = []
        self._libvirt: Libvirt | None = None
        self._kept: dict[Callable[[Host], LinuxGuest], LinuxGuest] = {}

    def start(self, guest: LinuxGuest, *, incoming: bool = False, wait: bool = True) -> LinuxGuest:
        """Start a guest and wait until it obeys; see `LinuxGuest.start`."""
        self._guests.append(guest)
        guest.start(self.directory / guest.name, incoming=incoming, wait=wait)
        return guest

    def keep(self, start: Callable[["Host"], LinuxGuest]) -> LinuxGuest:
        """Return the guest that `start` started before; a new one if that is lost, or none yet.

        For tests that share a guest, since each takes seconds to boot.  They leave it as they
        found it; whether it still obeys is tried each time, for the emulator may have lost it.
        """
        guest = self._kept.get(start)
        if guest is None or not guest.obeys():
            if guest is not None:
                guest.kill()
            guest = self._kept[start] = start(self)
        return guest

    def tap(
        self,
        nic_id: str,
        *,
        vhost: bool = True,
        model: Literal["virtio-net-pci", "e1000"] = "virtio-net-pci",
        options: str = "",
    ) -> TapNic:
        """Make a tap with an address of the host's on it; return the NIC that plugs into it.

        Traffic between the guest and `peer` crosses the tap and nothing else.
        """
        number = next(self._networks)
        name = f"labtap{number}"
        ip(f"tuntap add mode tap name {name}")
        self._interfaces.append(name)
        ip(f"address add 10.77.{number}.1/24 dev {name}")
        ip(f"link set {name} up")
        address, peer = f"10.77.{number}.2/24", f"10.77.{number}.1"
        return TapNic(nic_id, name, address, peer, vhost, model, options)

    def bridge(self, *nics: TapNic) -> str:
        """Join the taps of these NICs in a bridge and return its name.

        The guests then reach each other; give their NICs addresses of one network first
        (`dataclasses.replace(nic, address=…)`).
        """
        name = f"labbr{next(self._networks)}"
        ip(f"link add {name} type bridge")
        self._interfaces.append(name)
        for nic in nics:
            ip(f"address flush dev {nic.tap}")
            ip(f"link set {nic.tap} master {name}")
        ip(f"link set {name} up")
        return name

    def libvirt(self) -> Libvirt:
        """Return libvirt, started on the first call."""
        if self._libvirt is None:
            self._libvirt = Libvirt(self.directory / "libvirt")
        return self._libvirt

    def save_logs(self, target: Path) -> None:
        """Copy what the guests and libvirt wrote so far to a directory, by guest."""
        for log in self.directory.rglob("*.log"):
            if log.name in _LOGS:
                kept = target / log.relative_to(self.directory)
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(log, kept)

    def close(self) -> None:
        """End every guest, remove every interface and file."""
        if self._libvirt is not None:
            self._libvirt.close()
        for guest in reversed(self._guests):
            guest.stop()
        for name in reversed(self._interfaces):
            ip(f"link delete {name}")
        shutil.rmtree(self.directory)
