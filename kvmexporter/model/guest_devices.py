# SPDX-License-Identifier: Apache-2.0
"""The virtio devices of this system as a guest, from what its kernel shows of each."""

from dataclasses import dataclass

from kvmexporter.model.vm import bounded_name
from kvmexporter.tables.virtio import TYPES, feature_names

_MAX_BITS = 128
# virtio 1.3, 2.1: the driver has taken the device and is ready.
_DRIVER_OK = 4


@dataclass(frozen=True, slots=True)
class GuestVirtio:
    """One device.

    Attributes:
        name: the kernel's, `virtio0`.
        kind: `net`, `blk`, … or `type-N`.
        driver: the kernel's, `virtio_net`; "" if none has taken it.
        transport: `pci`, `platform` (virtio-mmio), `css` (s390); "" if not known.
        address: on that, `0000:00:03.0`.
        interrupts: `msix`, `msi`, `intx`, "" if not known.
        ready: whether the driver says that it drives it.
        features: that both sides have accepted, by QEMU's names; none without a driver.
    """

    name: str
    kind: str
    driver: str
    transport: str
    address: str
    interrupts: str
    ready: bool
    features: tuple[str, ...]


def virtio_device(
    name: str,
    device_id: str,
    status: str,
    features: str,
    *,
    driver: str = "",
    transport: str = "",
    address: str = "",
    interrupts: str = "",
) -> GuestVirtio:
    """A device from its attributes in /sys/bus/virtio/devices, as text.

    Args:
        name: of its directory.
        device_id: `0x0001`.
        status: `0x0000000f`.
        features: a character a bit, the first is bit 0.
        driver: see `GuestVirtio`; as the others.
        transport: see there.
        address: see there.
        interrupts: see there.
    """
    number = _hexadecimal(device_id)
    kind = TYPES.get(number, f"type-{number}")
    bits = sum(1 << bit for bit, digit in enumerate(features[:_MAX_BITS]) if digit == "1")
    return GuestVirtio(
        name=bounded_name(name),
        kind=kind,
        driver=bounded_name(driver),
        transport=bounded_name(transport),
        address=bounded_name(address),
        interrupts=interrupts,
        ready=bool(_hexadecimal(status) & _DRIVER_OK),
        features=feature_names(kind, bits),
    )


def _hexadecimal(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return 0
