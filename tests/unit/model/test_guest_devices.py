# SPDX-License-Identifier: Apache-2.0
"""What a guest's kernel shows of its virtio devices."""

from kvmexporter.model.guest_devices import virtio_device

# As a guest on Linux 6.12 and QEMU 7.2 shows its balloon.
BALLOON_BITS = "0110010000000000000000000000010010000000100000000000000000000000"


def test_a_balloon() -> None:
    """Features by name: bits are numbered from the left."""
    found = virtio_device(
        "virtio1", "0x0005", "0x0000000f", BALLOON_BITS,
        driver="virtio_balloon", transport="pci", address="0000:00:03.0", interrupts="msix",
    )  # fmt: skip
    assert found.kind == "balloon"
    assert found.ready
    assert found.features == (
        "BALLOON_F_DEFLATE_ON_OOM", "BALLOON_F_REPORTING", "BALLOON_F_STATS_VQ", "F_RING_RESET",
        "F_VERSION_1", "RING_F_EVENT_IDX",
    )  # fmt: skip


def test_what_cannot_be_read() -> None:
    """Is not known; nothing fails."""
    found = virtio_device("virtio0", "", "", "")
    assert (found.kind, found.ready, found.features) == ("type-0", False, ())


def test_a_driver_that_is_not_ready() -> None:
    """It has seen the device, and failed or not gone on."""
    assert not virtio_device("virtio0", "0x0001", "0x00000083", "1").ready
