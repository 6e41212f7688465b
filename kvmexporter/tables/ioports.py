# SPDX-License-Identifier: Apache-2.0
"""Well-known x86 I/O ports and MMIO windows, for VMs whose address map cannot be asked for.

These are the addresses that the PC platform fixes, or that every VMM and firmware has agreed on
(ACPI power management at port 0x600). What firmware or the guest places, PCI BARs and the PCIe
configuration window above all, is not here. Addresses and device names follow QEMU's machine types
`pc` and `q35` as of QEMU 7.2 (`info mtree -f`, hw/i386, hw/isa, hw/acpi); `driver` is QEMU's type
name where there is one, the in-kernel variant (`kvm-*`) where KVM usually has the device itself.
On a VM with a split or no in-kernel irqchip the VMM serves those, which the handler of the access
shows.
"""

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class LegacyRegion:
    """A range of addresses that belongs to one device.

    Attributes:
        space: `pio` (port numbers) or `mmio` (guest physical addresses).
        first: the first address.
        last: the last address, inclusive.
        device: what it is, as a label value.
        driver: QEMU's name for the device model.
        path: `emulated` a device model in the VMM, `irqchip` in KVM, `platform` firmware
            configuration, PCI configuration space, ACPI and the like.
    """

    space: Literal["pio", "mmio"]
    first: int
    last: int
    device: str
    driver: str
    path: Literal["emulated", "irqchip", "platform"]


LEGACY_REGIONS: Final[tuple[LegacyRegion, ...]] = (
    LegacyRegion("pio", 0x0000, 0x000F, "dma", "i8257", "emulated"),
    LegacyRegion("pio", 0x0020, 0x0021, "pic", "kvm-i8259", "irqchip"),
    LegacyRegion("pio", 0x0040, 0x0043, "pit", "kvm-pit", "irqchip"),
    LegacyRegion("pio", 0x0060, 0x0060, "i8042", "i8042", "emulated"),
    # The speaker's gate is the PIT's third channel, and KVM's PIT answers this port as well.
    LegacyRegion("pio", 0x0061, 0x0061, "isa-pcspk", "isa-pcspk", "irqchip"),
    LegacyRegion("pio", 0x0064, 0x0064, "i8042", "i8042", "emulated"),
    LegacyRegion("pio", 0x0070, 0x0071, "rtc", "mc146818rtc", "emulated"),
    LegacyRegion("pio", 0x007E, 0x007F, "kvmvapic", "kvmvapic", "platform"),
    LegacyRegion("pio", 0x0080, 0x0080, "ioport80", "ioport80", "platform"),
    LegacyRegion("pio", 0x0081, 0x008F, "dma", "i8257", "emulated"),
    LegacyRegion("pio", 0x0092, 0x0092, "port92", "port92", "platform"),
    LegacyRegion("pio", 0x00A0, 0x00A1, "pic", "kvm-i8259", "irqchip"),
    LegacyRegion("pio", 0x00B2, 0x00B3, "apm", "PIIX4_PM", "platform"),
    LegacyRegion("pio", 0x00C0, 0x00DF, "dma", "i8257", "emulated"),
    LegacyRegion("pio", 0x00E9, 0x00E9, "debugcon", "isa-debugcon", "emulated"),
    LegacyRegion("pio", 0x00F0, 0x00F0, "ioportF0", "ioportF0", "platform"),
    LegacyRegion("pio", 0x0170, 0x0177, "ide1", "piix3-ide", "emulated"),
    LegacyRegion("pio", 0x01CE, 0x01D1, "vga", "VGA", "emulated"),
    LegacyRegion("pio", 0x01F0, 0x01F7, "ide0", "piix3-ide", "emulated"),
    LegacyRegion("pio", 0x0278, 0x027F, "parallel1", "isa-parallel", "emulated"),
    LegacyRegion("pio", 0x02E8, 0x02EF, "serial3", "isa-serial", "emulated"),
    LegacyRegion("pio", 0x02F8, 0x02FF, "serial1", "isa-serial", "emulated"),
    LegacyRegion("pio", 0x0376, 0x0376, "ide1", "piix3-ide", "emulated"),
    LegacyRegion("pio", 0x0378, 0x037F, "parallel0", "isa-parallel", "emulated"),
    # VGA is 0x3b0 to 0x3df, but for the printer port that sat on monochrome adapters.
    LegacyRegion("pio", 0x03B0, 0x03BB, "vga", "VGA", "emulated"),
    LegacyRegion("pio", 0x03BC, 0x03BF, "parallel2", "isa-parallel", "emulated"),
    LegacyRegion("pio", 0x03C0, 0x03DF, "vga", "VGA", "emulated"),
    LegacyRegion("pio", 0x03E8, 0x03EF, "serial2", "isa-serial", "emulated"),
    LegacyRegion("pio", 0x03F0, 0x03F5, "floppy", "isa-fdc", "emulated"),
    LegacyRegion("pio", 0x03F6, 0x03F6, "ide0", "piix3-ide", "emulated"),
    LegacyRegion("pio", 0x03F7, 0x03F7, "floppy", "isa-fdc", "emulated"),
    LegacyRegion("pio", 0x03F8, 0x03FF, "serial0", "isa-serial", "emulated"),
    LegacyRegion("pio", 0x0402, 0x0402, "debugcon", "isa-debugcon", "emulated"),
    LegacyRegion("pio", 0x04D0, 0x04D1, "pic", "kvm-i8259", "irqchip"),
    LegacyRegion("pio", 0x0501, 0x0502, "debug-exit", "isa-debug-exit", "emulated"),
    LegacyRegion("pio", 0x0505, 0x0505, "pvpanic", "pvpanic", "platform"),
    LegacyRegion("pio", 0x0510, 0x051B, "fw_cfg", "fw_cfg", "platform"),
    LegacyRegion("pio", 0x0600, 0x0607, "acpi-pm", "PIIX4_PM", "platform"),
    LegacyRegion("pio", 0x0608, 0x060B, "acpi-tmr", "PIIX4_PM", "platform"),
    LegacyRegion("pio", 0x060C, 0x067F, "acpi-pm", "PIIX4_PM", "platform"),
    LegacyRegion("pio", 0x0700, 0x073F, "pm-smbus", "PIIX4_PM", "platform"),
    LegacyRegion("pio", 0x0A00, 0x0A17, "acpi-mem-hotplug", "PIIX4_PM", "platform"),
    LegacyRegion("pio", 0x0CC0, 0x0CD7, "acpi-pci-hotplug", "ICH9-LPC", "platform"),
    LegacyRegion("pio", 0x0CD8, 0x0CF7, "acpi-cpu-hotplug", "ICH9-LPC", "platform"),
    LegacyRegion("pio", 0x0CF8, 0x0CFF, "pci-conf", "pci-host-bridge", "platform"),
    LegacyRegion("pio", 0x5658, 0x565B, "vmport", "vmport", "platform"),
    LegacyRegion("pio", 0xAE00, 0xAE17, "acpi-pci-hotplug", "PIIX4_PM", "platform"),
    LegacyRegion("pio", 0xAF00, 0xAF1F, "acpi-cpu-hotplug", "PIIX4_PM", "platform"),
    LegacyRegion("pio", 0xAFE0, 0xAFE3, "acpi-gpe0", "PIIX4_PM", "platform"),
    LegacyRegion("mmio", 0x000A0000, 0x000BFFFF, "vga", "VGA", "emulated"),
    LegacyRegion("mmio", 0xFEC00000, 0xFEC00FFF, "ioapic", "kvm-ioapic", "irqchip"),
    # Its registers end at 0x3ff; nothing else can live in the rest of the page.
    LegacyRegion("mmio", 0xFED00000, 0xFED00FFF, "hpet", "hpet", "emulated"),
    LegacyRegion("mmio", 0xFED40000, 0xFED44FFF, "tpm", "tpm-tis", "emulated"),
    LegacyRegion("mmio", 0xFEE00000, 0xFEE00FFF, "lapic", "kvm-apic", "irqchip"),
    LegacyRegion("mmio", 0xFFC00000, 0xFFFFFFFF, "flash", "cfi.pflash01", "platform"),
)
"""Ordered by space (`pio` first) and address; no two overlap."""
