# SPDX-License-Identifier: Apache-2.0
"""The path of accesses to QEMU's drivers."""

import pytest

from kvmexporter.model.drivers import path_of


@pytest.mark.parametrize(
    ("driver", "path"),
    [
        ("kvm-ioapic", "irqchip"),
        ("host-x86_64-kvm-apic", "irqchip"),
        ("ICH9-LPC", "platform"),
        ("pcie-root-port", "platform"),
        ("vfio-pci", "passthrough"),
        ("virtio-net-pci", "virtio"),
        ("vhost-user-blk-pci", "vhost"),
        ("e1000", "emulated"),
        ("isa-pcspk", "emulated"),
    ],
)
def test_paths(driver: str, path: str) -> None:
    """By the driver's name alone."""
    assert path_of(driver) == path


def test_the_speaker_of_kvm_s_pit() -> None:
    """KVM's PIT answers for it; QEMU's leaves it to QEMU."""
    assert path_of("isa-pcspk", has_kvm_pit=True) == "irqchip"
    assert path_of("isa-serial", has_kvm_pit=True) == "emulated"
