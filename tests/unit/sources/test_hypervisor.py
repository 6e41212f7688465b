# SPDX-License-Identifier: Apache-2.0
"""Gathering the evidence of what a system is."""

import os
from pathlib import Path

from kvmexporter.model.role import Evidence, detect
from kvmexporter.sources.cpuid import instruction
from kvmexporter.sources.hypervisor import look
from kvmexporter.sources.procfs import Procfs
from kvmexporter.sources.sysfs import Sysfs
from tests.unit.clock_tree import ClockTree

KVM_LEAVES = {
    1: (0, 0, 1 << 31, 0),
    0x40000000: (0x40000001, 0x4B4D564B, 0x564B4D56, 0x4D),
    0x40000001: (0x01000029, 0, 0, 0),
}


def test_everything(tmp_path: Path) -> None:
    """Each piece from its place."""
    tree = ClockTree(tmp_path)
    tree.cpuinfo("tsc hypervisor")
    tree.clocksource("kvm-clock", "kvm-clock tsc")
    tree.ptp("ptp0", "KVM virtual PTP")
    tree.attribute("class/dmi/id/sys_vendor", "QEMU")
    tree.attribute("class/dmi/id/product_name", "Standard PC")
    (tree.dev / "kvm").touch()
    evidence = look(
        Procfs(tree.proc), tree.sysfs, lambda leaf, _: KVM_LEAVES.get(leaf, (0, 0, 0, 0)), 5,
        tree.dev,
    )  # fmt: skip
    assert evidence == Evidence(
        kvm_device=True,
        vms=5,
        hypervisor_flag=True,
        signature="KVMKVMKVM",
        kvm_features=0x01000029,
        clocksources=("kvm-clock", "tsc"),
        ptp_clocks=("KVM virtual PTP",),
        machine="QEMU Standard PC",
    )


def test_nothing(tmp_path: Path) -> None:
    """A system that shows nothing is no evidence of anything."""
    (tmp_path / "cpuinfo").touch()
    missing = tmp_path / "missing"
    assert look(Procfs(tmp_path), Sysfs(missing), None, 0, missing) == Evidence()


def test_this_system() -> None:
    """Where there is a /dev/kvm it is a host, whatever else it is."""
    evidence = look(Procfs(), Sysfs(), instruction(), 0)
    assert evidence.kvm_device == os.path.lexists("/dev/kvm")
    assert detect(evidence).host >= evidence.kvm_device
