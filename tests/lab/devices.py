# SPDX-License-Identifier: Apache-2.0
"""What a Linux guest in the lab can be built of, and how QEMU is told.

Every device gets an id of the test's choosing, which is what the exporter shows.  Property names
are QEMU's own (`qemu-system-x86_64 -device virtio-blk-pci,help`).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


def _switch(value: bool) -> str:
    return "on" if value else "off"


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk in a sparse raw file of its own.

    In the guest: `/dev/vdX` on virtio-blk, `/dev/sdX` on virtio-scsi and ide, in order of
    declaration.
    """

    id: str
    bus: Literal["virtio-blk", "virtio-scsi", "ide"] = "virtio-blk"
    size_mib: int = 64
    iothread: bool = False
    ioeventfd: bool = True
    options: str = ""
    """More properties of the device, ",num-queues=2"."""

    def arguments(self, image: Path) -> list[str]:
        """Return QEMU's arguments for the disk with this image file."""
        # Locking is off because a migration's two machines hold the file at once.
        drive = f"if=none,id={self.id}-drive,file={image},format=raw,file.locking=off"
        arguments = ["-drive", drive]
        if self.bus == "ide":
            device = f"ide-hd,id={self.id},drive={self.id}-drive"
        elif self.bus == "virtio-scsi":
            arguments += self._thread()
            arguments += ["-device", self._controller(f"virtio-scsi-pci,id={self.id}-controller")]
            device = f"scsi-hd,id={self.id},drive={self.id}-drive,bus={self.id}-controller.0"
        else:
            arguments += self._thread()
            device = self._controller(f"virtio-blk-pci,id={self.id},drive={self.id}-drive")
        return [*arguments, "-device", device + self.options]

    def _thread(self) -> list[str]:
        return ["-object", f"iothread,id={self.id}-thread"] if self.iothread else []

    def _controller(self, device: str) -> str:
        thread = f",iothread={self.id}-thread" if self.iothread else ""
        return f"{device},ioeventfd={_switch(self.ioeventfd)}{thread}"


@dataclass(frozen=True, slots=True)
class UserNic:
    """A NIC on QEMU's user network, where QEMU itself answers as the peer."""

    id: str
    model: Literal["virtio-net-pci", "e1000"] = "virtio-net-pci"
    network: int = 2
    """Third number of the addresses; two such NICs of one guest need two."""
    options: str = ""
    forward: tuple[int, int] | None = None
    """A TCP port of the host's that leads to one of the guest's."""

    @property
    def address(self) -> str:
        """The guest's address with its prefix length."""
        return f"10.0.{self.network}.15/24"

    @property
    def peer(self) -> str:
        """The address that answers."""
        return f"10.0.{self.network}.2"

    def arguments(self, mac: str) -> list[str]:
        """Return QEMU's arguments for the NIC."""
        backend = f"user,id={self.id}-net,net=10.0.{self.network}.0/24"
        if self.forward:
            backend += ",hostfwd=tcp::{}-:{}".format(*self.forward)
        return ["-netdev", backend, "-device", _nic(self, mac)]


@dataclass(frozen=True, slots=True)
class TapNic:
    """A NIC on a tap of the lab's host, made by `Host.tap`; the host itself is the peer."""

    id: str
    tap: str
    address: str
    """The guest's, with its prefix length: "10.77.1.2/24"."""
    peer: str
    """The host's, without: "10.77.1.1"."""
    vhost: bool = True
    model: Literal["virtio-net-pci", "e1000"] = "virtio-net-pci"
    options: str = ""

    def arguments(self, mac: str) -> list[str]:
        """Return QEMU's arguments for the NIC."""
        # vhost serves virtio rings only; QEMU rejects it for an emulated NIC's back end.
        vhost = _switch(self.vhost and self.model == "virtio-net-pci")
        backend = f"tap,id={self.id}-net,ifname={self.tap},script=no,downscript=no,vhost={vhost}"
        return ["-netdev", backend, "-device", _nic(self, mac)]


Nic = UserNic | TapNic


def _nic(nic: Nic, mac: str) -> str:
    # No boot ROM: the firmware would run each one, for seconds.
    return f"{nic.model},id={nic.id},netdev={nic.id}-net,mac={mac},romfile={nic.options}"
