# SPDX-License-Identifier: Apache-2.0
"""The virtio devices that this system's kernel has found.

Source: /sys/bus/virtio/devices (drivers/virtio/virtio.c), and of the device that carries each
(Documentation/ABI/testing/sysfs-bus-pci): six small files and links a device.
"""

from pathlib import Path

from kvmexporter.model.guest_devices import GuestVirtio, virtio_device

MAX_DEVICES = 256
_MAX_BYTES = 4096


def guest_virtio(sysfs: Path = Path("/sys")) -> tuple[GuestVirtio, ...]:
    """The virtio devices, by number; none where there is no such bus.

    Args:
        sysfs: where it is mounted.
    """
    places = (sysfs / "bus/virtio/devices").glob("virtio*")
    return tuple(
        _device(place)
        for place in sorted(places, key=lambda place: (len(place.name), place.name))[:MAX_DEVICES]
    )


def _device(place: Path) -> GuestVirtio:
    carrier = place.resolve().parent
    return virtio_device(
        place.name,
        _text(place / "device"),
        _text(place / "status"),
        _text(place / "features"),
        driver=_linked(place / "driver"),
        transport=_linked(carrier / "subsystem"),
        address=carrier.name,
        interrupts=_interrupts(carrier),
    )


def _interrupts(carrier: Path) -> str:
    """How the device that carries one interrupts: by messages, or a wire."""
    for vector in sorted((carrier / "msi_irqs").glob("*"))[:1]:
        return "msix" if _text(vector) == "msix" else "msi"
    return "intx" if _text(carrier / "irq") not in ("", "0") else ""


def _linked(path: Path) -> str:
    """The name of what a link leads to, "" if there is none."""
    try:
        return path.readlink().name
    except OSError:
        return ""


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode(errors="replace").strip()
    except OSError:
        return ""
