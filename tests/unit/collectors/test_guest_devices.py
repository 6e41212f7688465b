# SPDX-License-Identifier: Apache-2.0
"""A guest's virtio devices as metrics."""

from dataclasses import replace
from pathlib import Path

import pytest

from kvmexporter.collectors.guest_devices import GuestDevicesCollector
from kvmexporter.errors import Unavailable
from kvmexporter.model.role import Role
from kvmexporter.sources.sysfs import Sysfs
from kvmexporter.sources.system import System
from tests.unit.guest_devices_tree import DevicesTree
from tests.unit.host import Host


def collector(host: Host, sysfs: Path, guest: bool = True) -> GuestDevicesCollector:
    system = System(Role(False, guest, "a test"), Sysfs(sysfs))
    return GuestDevicesCollector(replace(host.sources(), system=system))


def test_everything(host: Host, tmp_path: Path) -> None:
    """Each device with its driver and interrupts, and each feature that is on."""
    tree = DevicesTree(tmp_path)
    addresses = [
        tree.add(1, "virtio_net", "1", interrupts="intx"),
        tree.add(5, "", "", interrupts="none", status="0x00000001"),
    ]
    made = collector(host, tmp_path)
    sample = made.sample(host.cycle())
    found = {
        (family.metric.name.removeprefix("kvm_guest_virtio_"), *one.labels): one.value
        for family in made.families(sample)
        for one in family.samples
    }
    assert found == {
        ("device_info", "virtio0", "net", "virtio_net", "pci", addresses[0], "intx"): 1,
        ("device_info", "virtio1", "balloon", "", "pci", addresses[1], ""): 1,
        ("device_ready", "virtio0"): 1,
        ("device_ready", "virtio1"): 0,
        ("feature", "virtio0", "NET_F_CSUM"): 1,
    }
    assert [one.rule for one in made.findings(sample)] == [
        "guest-virtio-no-msix", "guest-virtio-without-driver",
    ]  # fmt: skip


def test_no_guest(host: Host, tmp_path: Path) -> None:
    """Said with the reason."""
    with pytest.raises(Unavailable, match="no KVM guest"):
        collector(host, tmp_path, guest=False).sample(host.cycle())
