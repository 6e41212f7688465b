# SPDX-License-Identifier: Apache-2.0
"""The virtio devices of a guest as sysfs shows them."""

from pathlib import Path


class DevicesTree:
    """A sysfs with a virtio bus.

    Args:
        root: where; made if it is not there.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._number = 0

    def add(
        self,
        device_id: int,
        driver: str,
        features: str,
        *,
        interrupts: str = "msix",
        subsystem: str = "pci",
        status: str = "0x0000000f",
    ) -> str:
        """Add a device; return the address of what carries it."""
        number, self._number = self._number, self._number + 1
        address = f"0000:00:{number + 2:02x}.0" if subsystem == "pci" else f"LNRO0005:{number:02x}"
        carrier = self.root / "devices" / address
        place = carrier / f"virtio{number}"
        place.mkdir(parents=True)
        (carrier / "subsystem").symlink_to(f"../../bus/{subsystem}")
        if interrupts == "msix":
            (carrier / "msi_irqs").mkdir()
            for vector in (24, 25):
                (carrier / "msi_irqs" / str(vector)).write_text("msix\n")
        (carrier / "irq").write_text("0\n" if interrupts == "none" else "11\n")
        (place / "device").write_text(f"{device_id:#06x}\n")
        (place / "status").write_text(f"{status}\n")
        (place / "features").write_text(f"{features.ljust(64, '0')}\n")
        if driver:
            (place / "driver").symlink_to(f"../../../bus/virtio/drivers/{driver}")
        bus = self.root / "bus/virtio/devices"
        bus.mkdir(parents=True, exist_ok=True)
        (bus / f"virtio{number}").symlink_to(place)
        return address
