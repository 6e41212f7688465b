# SPDX-License-Identifier: Apache-2.0
"""QEMU's drivers (QOM types) by the path that accesses to them take, and by who tells them apart.

Source: `-device help` and `info qtree` of QEMU 7.2 to 11; hw/i386, hw/pci-bridge, hw/acpi.
"""

# Drivers (QOM types) whose accesses KVM itself handles.
_IRQCHIP = frozenset({"kvm-i8259", "kvm-pit", "kvm-ioapic", "kvm-apic"})

# Firmware, chipset and power management: no device that a user chose.
_PLATFORM = frozenset(
    {
        "fw_cfg_io", "fw_cfg_mem", "PIIX3", "PIIX4_PM", "ICH9-LPC", "ICH9-SMB", "ICH9 SMB",
        "i440FX-pcihost", "q35-pcihost", "mch", "gpex-pcihost", "kvmvapic", "port92", "vmport",
        "pvpanic", "acpi-ged", "acpi-ged-x86", "i8257", "isa-debugcon", "piix3",
        "tpm-tis", "tpm-crb",
    }
)  # fmt: skip

# Buses that others are plugged into: several in every machine, and nothing that data goes through.
BRIDGES = frozenset(
    {
        "pcie-root-port", "ioh3420", "pci-bridge", "pcie-pci-bridge", "i82801b11-bridge",
        "x3130-upstream", "xio3130-downstream", "cxl-rp", "cxl-upstream", "cxl-downstream",
    }
)  # fmt: skip

# What KVM's own PIT answers for as well (KVM_PIT_SPEAKER_DUMMY).
_OF_KVM_PIT = frozenset({"isa-pcspk"})

# What there are several of without anybody telling them apart.
ONE_NAME = _IRQCHIP | BRIDGES | {"virtio-mmio"}


def path_of(driver: str, *, has_kvm_pit: bool = False) -> str:
    """The path of accesses to a device: `irqchip`, `platform`, `passthrough` and so on.

    Args:
        driver: its QOM type.
        has_kvm_pit: whether the PIT is KVM's, which then answers for the speaker's port as well.
    """
    if driver in _IRQCHIP or driver.endswith("-kvm-apic"):
        return "irqchip"
    if has_kvm_pit and driver in _OF_KVM_PIT:
        return "irqchip"
    if driver in _PLATFORM or driver in BRIDGES:
        return "platform"
    if driver.startswith("vfio-"):
        return "passthrough"
    if driver.startswith("virtio-"):
        return "virtio"
    return "vhost" if driver.startswith("vhost-") else "emulated"
