# SPDX-License-Identifier: Apache-2.0
"""Which addresses of the recorded VMs belong to whom, in every release of QEMU."""

_DMA0 = ("i8257@0", "i8257", "platform")
_DMA1 = ("i8257@89", "i8257", "platform")
_PIC = ("kvm-i8259", "kvm-i8259", "irqchip")
_PIIX4_PM = ("PIIX4_PM", "PIIX4_PM", "platform")
_LPC = ("ICH9-LPC", "ICH9-LPC", "platform")
_I440FX = ("i440FX-pcihost", "i440FX-pcihost", "platform")
_Q35 = ("q35-pcihost", "q35-pcihost", "platform")
_FW_CFG = ("fw_cfg_io", "fw_cfg_io", "platform")
_KBD = ("i8042", "i8042", "emulated")
_RTC = ("mc146818rtc", "mc146818rtc", "emulated")
_IDE = ("piix3-ide@00:01.1", "piix3-ide", "emulated")
_VGA = ("VGA@00:02.0", "VGA", "emulated")
_VIDEO0 = ("video0", "VGA", "emulated")
_HPET = ("hpet", "hpet", "emulated")
_COM1_OF_TWO = ("isa-serial@3f8", "isa-serial", "emulated")
_COM1 = ("isa-serial", "isa-serial", "emulated")

_PC_BOTH = {
    **{("port", port): _DMA0 for port in (0x00, 0x07, 0x08, 0x0F, 0x81, 0x83, 0x87)},
    **{("port", port): _DMA1 for port in (0x89, 0x8B, 0x8F, 0xC0, 0xCF, 0xD0, 0xDF)},
    **{("port", port): _PIC for port in (0x20, 0x21, 0xA0, 0xA1, 0x4D0, 0x4D1)},
    **{("port", port): ("kvm-pit", "kvm-pit", "irqchip") for port in (0x40, 0x42, 0x43)},
    **{("port", port): _KBD for port in (0x60, 0x64)},
    **{("port", port): _RTC for port in (0x70, 0x71)},
    **{("port", port): _FW_CFG for port in (0x510, 0x511, 0x514, 0x51B)},
    ("port", 0x61): ("isa-pcspk", "isa-pcspk", "irqchip"),
    ("port", 0x7E): ("kvmvapic", "kvmvapic", "platform"),
    ("port", 0x80): ("ioport80", "ioport80", "platform"),
    ("port", 0xF0): ("ioportF0", "ioportF0", "platform"),
    ("port", 0x92): ("port92", "port92", "platform"),
    ("port", 0x5658): ("vmport", "vmport", "platform"),
    ("memory", 0xFEC00000): ("kvm-ioapic", "kvm-ioapic", "irqchip"),
    ("memory", 0xFEC00FFF): ("kvm-ioapic", "kvm-ioapic", "irqchip"),
    ("memory", 0xFEE00000): ("kvm-apic", "kvm-apic", "irqchip"),
    ("memory", 0xFEE000B0): ("kvm-apic", "kvm-apic", "irqchip"),
    ("memory", 0xFEEFFFFF): ("kvm-apic", "kvm-apic", "irqchip"),
    ("memory", 0xFED00000): _HPET,
    ("memory", 0xFED000F0): _HPET,
}
_I440FX_ALL = {
    **_PC_BOTH,
    **{("port", port): _I440FX for port in (0xCF8, 0xCFA, 0xCFC, 0xCFF)},
    ("port", 0xCF9): ("PIIX3", "PIIX3", "platform"),
    **{("port", port): ("isa-fdc", "isa-fdc", "emulated") for port in (0x3F1, 0x3F5, 0x3F7)},
}
_I440FX_BOOTED = {
    **_I440FX_ALL,
    **{("port", port): _PIIX4_PM for port in (0xB2, 0x600, 0x604, 0x608, 0x60B, 0x700, 0xAFE0)},
    **{("port", port): _IDE for port in (0x170, 0x177, 0x1F0, 0x1F7, 0x376, 0x3F6)},
}
_Q35_ALL = {
    **_PC_BOTH,
    **{("port", port): _Q35 for port in (0xCF8, 0xCFA, 0xCFC, 0xCFF)},
    **{("port", port): _LPC for port in (0xB2, 0x600, 0x604, 0x608, 0x60B, 0x660, 0xCF9)},
    ("port", 0x700): ("ICH9-SMB@00:1f.3", "ICH9-SMB", "platform"),
    ("port", 0x3F8): _COM1,
    ("memory", 0xB0000000): _Q35,
    ("memory", 0xBFFFFFFF): _Q35,
    ("memory", 0xFED1C000): _LPC,
}
_VGA_PORTS = (0x1CE, 0x1D1, 0x3B4, 0x3C0, 0x3CF, 0x3D4, 0x3DA)


def _virtio(device: str, kind: str) -> tuple[str, str, str]:
    return device, kind, "virtio"


# Configuration → (space, address) → device, driver, path; of every release.
LEGACY = {
    "pc": {
        **_I440FX_BOOTED,
        **{("port", port): _VGA for port in _VGA_PORTS},
        ("memory", 0xA0000): _VGA,
        ("memory", 0xBFFFF): _VGA,
        ("port", 0x2F8): ("com2", "isa-serial", "emulated"),
        ("port", 0x3F8): _COM1_OF_TWO,
        ("port", 0x3FF): _COM1_OF_TWO,
        ("port", 0x505): ("pvpanic", "pvpanic", "platform"),
    },
    "pc-unmapped": {
        **_I440FX_ALL,
        **{("port", port): ("VGA", "VGA", "emulated") for port in _VGA_PORTS},
        ("port", 0x2F8): ("com2", "isa-serial", "emulated"),
        ("port", 0x3F8): _COM1_OF_TWO,
    },
    "pc-vhost": {**_I440FX_BOOTED, ("port", 0x3F8): _COM1},
    "q35": {
        **_Q35_ALL,
        **{("port", port): _VIDEO0 for port in _VGA_PORTS},
        ("memory", 0xA0000): _VIDEO0,
    },
    "q35-vhost-user": _Q35_ALL,
    "microvm": {
        ("port", 0x20): ("isa-i8259@20", "isa-i8259", "emulated"),
        ("port", 0xA1): ("isa-i8259@a0", "isa-i8259", "emulated"),
        ("port", 0x43): ("isa-pit", "isa-pit", "emulated"),
        ("port", 0x3F8): _COM1,
        ("port", 0x510): _FW_CFG,
        ("memory", 0xFEC00000): ("ioapic@fec00000", "ioapic", "emulated"),
        ("memory", 0xFEC10000): ("ioapic@fec10000", "ioapic", "emulated"),
        ("memory", 0xFEE00000): ("kvm-apic", "kvm-apic", "irqchip"),
        # Its transports are filled from the last on.
        ("memory", 0xFEB02E00): _virtio("disk0", "virtio-blk-device"),
        ("memory", 0xFEB02FFF): _virtio("disk0", "virtio-blk-device"),
        ("memory", 0xFEB02C00): _virtio("nic0", "virtio-net-device"),
        ("memory", 0xFEB02A50): _virtio("virtio-net-device@feb02a00", "virtio-net-device"),
        ("memory", 0xFEB02800): _virtio("virtio-balloon-device", "virtio-balloon-device"),
        ("memory", 0xFEB02600): _virtio("rng0", "virtio-rng-device"),
        ("memory", 0xFEB02400): _virtio("virtio-serial-device", "virtio-serial-device"),
        ("memory", 0xFEB02200): _virtio("virtio-mmio", "virtio-mmio"),
        ("memory", 0xFEB00000): _virtio("virtio-mmio", "virtio-mmio"),
    },
}

# Configuration → PCI address → device, driver, path; those that have BARs.
FUNCTIONS = {
    "pc": {
        "00:01.1": _IDE,
        "00:02.0": _VGA,
        "00:03.0": _virtio("disk0", "virtio-blk-pci"),
        "00:04.0": _virtio("virtio-blk-pci@00:04.0", "virtio-blk-pci"),
        "00:05.0": _virtio("nic0", "virtio-net-pci"),
        "00:06.0": _virtio("balloon0", "virtio-balloon-pci"),
        "00:07.0": _virtio("virtio-net-pci@00:07.0", "virtio-net-pci"),
        "00:08.0": _virtio("virtio-net-pci@00:08.0", "virtio-net-pci"),
        "00:09.0": ("lan0", "e1000", "emulated"),
        "00:0a.0": ("e1000@00:0a.0", "e1000", "emulated"),
        "00:0b.0": _virtio("scsi0", "virtio-scsi-pci"),
        "00:0c.0": _virtio("virtio-serial-pci@00:0c.0", "virtio-serial-pci"),
        "00:0d.0": _virtio("virtio-rng-pci@00:0d.0", "virtio-rng-pci"),
        "00:0e.0": ("usb", "piix3-usb-uhci", "emulated"),
    },
    "pc-unmapped": {},
    "pc-vhost": {"00:01.1": _IDE, "00:02.0": _virtio("nic0", "virtio-net-pci")},
    "q35": {
        "00:01.0": _VIDEO0,
        "00:02.0": _virtio("disk0", "virtio-blk-pci"),
        "00:03.0": _virtio("disk1", "virtio-blk-pci"),
        "00:04.0": _virtio("nic0", "virtio-net-pci"),
        "00:05.0": _virtio("virtio-balloon-pci@00:05.0", "virtio-balloon-pci"),
        "00:06.0": ("pcie-root-port", "pcie-root-port", "platform"),
        "00:07.0": ("pcie-root-port", "pcie-root-port", "platform"),
        "00:08.0": ("pcie-root-port", "pcie-root-port", "platform"),
        "00:09.0": ("pcie-root-port", "pcie-root-port", "platform"),
        "00:0a.0": ("pcie-root-port", "pcie-root-port", "platform"),
        "00:0b.0": ("e1000@00:0b.0", "e1000", "emulated"),
        "00:0c.0": _virtio("scsi0", "virtio-scsi-pci"),
        "00:0d.0": _virtio("channel0", "virtio-serial-pci"),
        "00:0e.0": _virtio("rng0", "virtio-rng-pci"),
        "00:0f.0": ("sata1", "ich9-ahci", "emulated"),
        "00:10.0": ("qemu-xhci@00:10.0", "qemu-xhci", "emulated"),
        "00:11.0": ("i6300esb@00:11.0", "i6300esb", "emulated"),
        "00:1f.2": ("ich9-ahci@00:1f.2", "ich9-ahci", "emulated"),
        "00:1f.3": ("ICH9-SMB@00:1f.3", "ICH9-SMB", "platform"),
        "01:00.0": _virtio("virtio-net-pci@01:00.0", "virtio-net-pci"),
        "02:00.0": _virtio("virtio-net-pci@02:00.0", "virtio-net-pci"),
        "03:00.0": _virtio("far0", "virtio-blk-pci"),
        "04:00.0": ("lan0", "e1000e", "emulated"),
    },
    "q35-vhost-user": {
        "00:01.0": ("disk0", "vhost-user-blk-pci", "vhost"),
        "00:1f.2": ("ich9-ahci@00:1f.2", "ich9-ahci", "emulated"),
        "00:1f.3": ("ICH9-SMB@00:1f.3", "ICH9-SMB", "platform"),
    },
    "microvm": {},
}

GAPS = {
    "pc": (0x10, 0x22, 0x44, 0x65, 0x72, 0x84, 0x93, 0xE0, 0x3F0, 0x512, 0x4D2, 0x1000, 0xFFFF),
    "q35": (0x10, 0x22, 0x44, 0x65, 0x170, 0x1F0, 0x3F6, 0x505, 0x512, 0x1000, 0xFFFF),
    "microvm": (0x0, 0x1F, 0x22, 0x60, 0x64, 0x70, 0x80, 0xCF8, 0xCFC, 0x600),
}
