# SPDX-License-Identifier: Apache-2.0
"""How a VM is built: what each of its devices is, and who does its work.

The same picture is drawn from what QEMU's monitor says (`qemu_posture.py`) and from its command
line (`command_line_posture.py`); neither knows all: the monitor does not tell vhost before a
driver runs, nor ever a disk's aio mode, and the command line nothing of what was plugged later.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum


class Kind(StrEnum):
    """What a device is for."""

    NIC = "nic"
    DISK = "disk"
    CDROM = "cdrom"
    OTHER = "other"


class Make(StrEnum):
    """What a device is."""

    PARAVIRTUAL = "paravirtual"
    EMULATED = "emulated"
    PASSTHROUGH = "passthrough"


@dataclass(frozen=True, slots=True)
class Backing:
    """What is behind a disk.

    Attributes:
        cache: QEMU's name of the mode: none, writeback, writethrough, directsync, unsafe;
            "" if not known.
        aio: threads, native or io_uring; "" if not known, or none of these.
        read_only: whether the guest cannot write.
    """

    cache: str = ""
    aio: str = ""
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class Netdev:
    """What is behind a NIC.

    Attributes:
        type: tap, user, vhost-user, …; "" if not known.
        taps: the names of its tap devices, those that are known.
        fds: the VMM's descriptors of tap devices that were handed to it.
        queues: pairs of queues.
        vhost: whether vhost is to serve it; None if not known.
    """

    type: str = ""
    taps: tuple[str, ...] = ()
    fds: tuple[int, ...] = ()
    queues: int = 1
    vhost: bool | None = None


@dataclass(frozen=True, slots=True)
class Device:
    """A device; None and "" where it is not known or does not apply.

    Attributes:
        name: as in the metrics of I/O.
        driver: the device model's type.
        kind: what it is for.
        make: paravirtual, emulated, passthrough.
        bus: pci, virtio-mmio, ide, scsi, usb, …
        backend: who does its work: qemu, iothread, vhost, vhost-user, vhost-vdpa, vfio.
        queues: pairs of queues of a NIC, request queues of a disk or its controller.
        ioeventfd: whether the kernel passes doorbells on.
        vectors: MSI-X vectors of a virtio PCI device.
        modern: whether virtio 1.0 is offered.
        netdev: name of what is behind a NIC, and what that is.
        drive: name of what is behind a disk, and what that is.
    """

    name: str
    driver: str
    kind: Kind
    make: Make
    bus: str
    backend: str = "qemu"
    queues: int | None = None
    ioeventfd: bool | None = None
    vectors: int | None = None
    modern: bool | None = None
    netdev: tuple[str, Netdev] | None = None
    drive: tuple[str, Backing] | None = None


@dataclass(frozen=True, slots=True)
class Posture:
    """A VM.

    Attributes:
        cpu_model: QEMU's name of it; "" if not known.
        devices: those that carry data, and further virtio ones.
    """

    cpu_model: str = ""
    devices: tuple[Device, ...] = ()


@dataclass(frozen=True, slots=True)
class Backends:
    """What a command line says stands behind devices.

    Attributes:
        netdevs: name → what it is.
        drives: name of a drive or node → what it is.
    """

    netdevs: Mapping[str, Netdev] = field(default_factory=dict)
    drives: Mapping[str, Backing] = field(default_factory=dict)


# What QEMU turns a mode into for a guest whose driver cannot flush: firmware, for one.
_WITHOUT_WRITE_CACHE = {"writeback": "writethrough", "none": "directsync"}


def nic_backend(netdev: Netdev) -> str:
    """Who does the work of a virtio NIC with this behind it."""
    if netdev.type in ("vhost-user", "vhost-vdpa"):
        return netdev.type
    return "vhost" if netdev.vhost else "qemu"


def completed(posture: Posture, backends: Backends) -> Posture:
    """What the monitor said, with what only the command line can tell."""
    return replace(
        posture, devices=tuple(_completed(device, backends) for device in posture.devices)
    )


def _completed(device: Device, backends: Backends) -> Device:
    if device.netdev and (given := backends.netdevs.get(device.netdev[0])):
        name, seen = device.netdev
        netdev = Netdev(
            seen.type or given.type,
            seen.taps or given.taps,
            seen.fds or given.fds,
            max(seen.queues, given.queues),
            given.vhost if seen.vhost is None else seen.vhost,
        )
        device = replace(device, netdev=(name, netdev))
        if device.make is Make.PARAVIRTUAL:
            device = replace(device, queues=netdev.queues, backend=nic_backend(netdev))
    if device.drive and (backing := backends.drives.get(device.drive[0])):
        name, shown = device.drive
        cache = shown.cache
        if _WITHOUT_WRITE_CACHE.get(backing.cache) == cache:
            # Not as it was built: the guest's driver does not flush, so QEMU does after writes.
            cache = backing.cache
        device = replace(device, drive=(name, replace(shown, cache=cache, aio=backing.aio)))
    return device
