# SPDX-License-Identifier: Apache-2.0
"""Virtio devices as sysfs shows them."""

from pathlib import Path

from kvmexporter.sources.guest_virtio import guest_virtio
from tests.unit.guest_devices_tree import DevicesTree


def test_devices(tmp_path: Path) -> None:
    """On PCI with messages and with a wire, on a platform bus, and one that nobody drives."""
    tree = DevicesTree(tmp_path)
    address = tree.add(2, "virtio_blk", "001")
    tree.add(5, "virtio_balloon", "0110", interrupts="intx")
    tree.add(4, "", "", interrupts="none", status="0x00000001")
    tree.add(1, "virtio_net", "1", interrupts="intx", subsystem="platform")
    blk, balloon, rng, net = guest_virtio(tmp_path)
    assert (blk.name, blk.kind, blk.driver, blk.ready) == ("virtio0", "blk", "virtio_blk", True)
    assert (blk.transport, blk.address, blk.interrupts) == ("pci", address, "msix")
    assert blk.features == ("BLK_F_SEG_MAX",)
    assert balloon.interrupts == "intx"
    assert balloon.features == ("BALLOON_F_DEFLATE_ON_OOM", "BALLOON_F_STATS_VQ")
    assert (rng.kind, rng.driver, rng.ready, rng.features) == ("rng", "", False, ())
    assert rng.interrupts == ""
    assert (net.transport, net.interrupts) == ("platform", "intx")


def test_many(tmp_path: Path) -> None:
    """In the order of their numbers."""
    tree = DevicesTree(tmp_path)
    for _ in range(12):
        tree.add(4, "virtio_rng", "")
    assert [one.name for one in guest_virtio(tmp_path)] == [f"virtio{n}" for n in range(12)]


def test_no_bus(tmp_path: Path) -> None:
    """A system without virtio has no such devices."""
    assert guest_virtio(tmp_path) == ()
