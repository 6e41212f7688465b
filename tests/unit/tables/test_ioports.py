# SPDX-License-Identifier: Apache-2.0
"""Legacy regions: what is where, and that nothing is in two places at once."""

from itertools import pairwise

import pytest

from kvmexporter.tables.ioports import LEGACY_REGIONS, LegacyRegion


def at(space: str, address: int) -> list[LegacyRegion]:
    """Find the regions an address is in."""
    return [r for r in LEGACY_REGIONS if r.space == space and r.first <= address <= r.last]


@pytest.mark.parametrize(
    ("space", "address", "device", "driver", "path"),
    [
        ("pio", 0x20, "pic", "kvm-i8259", "irqchip"),
        ("pio", 0x4D0, "pic", "kvm-i8259", "irqchip"),
        ("pio", 0x40, "pit", "kvm-pit", "irqchip"),
        ("pio", 0x60, "i8042", "i8042", "emulated"),
        ("pio", 0x61, "isa-pcspk", "isa-pcspk", "irqchip"),
        ("pio", 0x64, "i8042", "i8042", "emulated"),
        ("pio", 0x71, "rtc", "mc146818rtc", "emulated"),
        ("pio", 0x80, "ioport80", "ioport80", "platform"),
        ("pio", 0x81, "dma", "i8257", "emulated"),
        ("pio", 0x170, "ide1", "piix3-ide", "emulated"),
        ("pio", 0x1F7, "ide0", "piix3-ide", "emulated"),
        ("pio", 0x3F6, "ide0", "piix3-ide", "emulated"),
        ("pio", 0x3F7, "floppy", "isa-fdc", "emulated"),
        ("pio", 0x378, "parallel0", "isa-parallel", "emulated"),
        ("pio", 0x3BC, "parallel2", "isa-parallel", "emulated"),
        ("pio", 0x3D4, "vga", "VGA", "emulated"),
        ("pio", 0x3F8, "serial0", "isa-serial", "emulated"),
        ("pio", 0x2F8, "serial1", "isa-serial", "emulated"),
        ("pio", 0x3E8, "serial2", "isa-serial", "emulated"),
        ("pio", 0x2E8, "serial3", "isa-serial", "emulated"),
        ("pio", 0x402, "debugcon", "isa-debugcon", "emulated"),
        ("pio", 0x510, "fw_cfg", "fw_cfg", "platform"),
        ("pio", 0x51B, "fw_cfg", "fw_cfg", "platform"),
        ("pio", 0x608, "acpi-tmr", "PIIX4_PM", "platform"),
        ("pio", 0xCF8, "pci-conf", "pci-host-bridge", "platform"),
        ("pio", 0xCFF, "pci-conf", "pci-host-bridge", "platform"),
        ("mmio", 0xA0000, "vga", "VGA", "emulated"),
        ("mmio", 0xBFFFF, "vga", "VGA", "emulated"),
        ("mmio", 0xFEC00010, "ioapic", "kvm-ioapic", "irqchip"),
        ("mmio", 0xFED000F0, "hpet", "hpet", "emulated"),
        ("mmio", 0xFED40000, "tpm", "tpm-tis", "emulated"),
        ("mmio", 0xFEE000B0, "lapic", "kvm-apic", "irqchip"),
        ("mmio", 0xFFFFFFF0, "flash", "cfi.pflash01", "platform"),
    ],
)
def test_an_address_belongs_to_its_device(
    space: str, address: int, device: str, driver: str, path: str
) -> None:
    """A well-known address finds one region, of the device that lives there."""
    (region,) = at(space, address)
    assert (region.device, region.driver, region.path) == (device, driver, path)


@pytest.mark.parametrize(
    ("space", "address"),
    [("pio", 0x62), ("pio", 0xC000), ("mmio", 0xC0000), ("mmio", 0xFEBF0000), ("mmio", 0xFEE01000)],
)
def test_what_nobody_fixed_is_not_claimed(space: str, address: int) -> None:
    """Holes, PCI BARs and guest memory are in no region."""
    assert at(space, address) == []


def test_regions_are_ordered_and_do_not_overlap() -> None:
    """Within a space every region ends before the next begins."""
    for before, after in pairwise(LEGACY_REGIONS):
        if before.space == after.space:
            assert before.last < after.first, (before, after)
    assert [r.space for r in LEGACY_REGIONS] == sorted(
        (r.space for r in LEGACY_REGIONS), key=["pio", "mmio"].index
    )


@pytest.mark.parametrize("region", LEGACY_REGIONS, ids=lambda r: f"{r.space}-{r.first:#x}")
def test_a_region_is_within_its_space(region: LegacyRegion) -> None:
    """Ports have 16 bits; an MMIO region is whole pages, the unit in which it is looked up."""
    assert 0 <= region.first <= region.last
    if region.space == "pio":
        assert region.last <= 0xFFFF
    else:
        assert region.first % 0x1000 == 0
        assert (region.last + 1) % 0x1000 == 0
        assert region.last <= 0xFFFFFFFF
