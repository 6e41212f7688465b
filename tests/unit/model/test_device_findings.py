# SPDX-License-Identifier: Apache-2.0
"""Advice on devices: when it is given, and when it is not."""

import pytest

from kvmexporter.model.device_findings import devices
from kvmexporter.model.posture import Device, Kind, Make, Netdev, Posture

TAP_VHOST = ("net0", Netdev("tap", ("tap0",), vhost=True))
TAP = ("net0", Netdev("tap", ("tap0",), vhost=False))
TAP_UNKNOWN = ("net0", Netdev("tap", ("tap0",)))
USER = ("net0", Netdev("user"))


def nic(driver: str = "virtio-net-pci", make: Make = Make.PARAVIRTUAL, **more: object) -> Device:
    device = Device("nic0", driver, Kind.NIC, make, "pci")
    return _with(device, more)


def disk(driver: str = "virtio-blk-pci", make: Make = Make.PARAVIRTUAL, **more: object) -> Device:
    device = Device("disk0", driver, Kind.DISK, make, "pci")
    return _with(device, more)


def _with(device: Device, more: dict[str, object]) -> Device:
    values = {name: getattr(device, name) for name in Device.__dataclass_fields__}
    return Device(**(values | more))


def told(device: Device, vcpus: int | None = 2) -> list[tuple[str, str]]:
    """Rules with the severity; every part of each is filled in."""
    found = list(devices("web", Posture("host", (device,)), vcpus))
    for finding in found:
        assert (finding.vm, finding.subject) == ("web", device.name)
        assert all((finding.seen, finding.matters))
        assert "QEMU: " in finding.remedy
        assert "libvirt: " in finding.remedy
    return [(finding.rule, finding.severity.value) for finding in found]


EMULATED_NIC = [("nic-emulated", "warning")]
EMULATED_DISK = [("disk-emulated", "warning")]
NO_VHOST = [("nic-without-vhost", "warning")]
NO_IOEVENTFD = [("virtio-without-ioeventfd", "warning")]
NO_MSIX = [("virtio-without-msix", "warning")]
LEGACY = [("virtio-legacy", "warning")]
SINGLE_QUEUE = [("single-queue", "info")]


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        # nic-emulated
        (nic("e1000", Make.EMULATED, netdev=TAP), EMULATED_NIC),
        (nic("rtl8139", Make.EMULATED), EMULATED_NIC),
        (nic(netdev=TAP_VHOST), []),
        (Device("host0", "vfio-pci", Kind.OTHER, Make.PASSTHROUGH, "pci", "vfio"), []),
        # disk-emulated
        (disk("ide-hd", Make.EMULATED), EMULATED_DISK),
        (disk("nvme", Make.EMULATED), EMULATED_DISK),
        (Device("cd", "ide-cd", Kind.CDROM, Make.EMULATED, "ide"), []),
        (disk("scsi-hd"), []),
        (disk(), []),
        # nic-without-vhost
        (nic(netdev=TAP), NO_VHOST),
        (nic(netdev=TAP_UNKNOWN), []),
        (nic(netdev=USER), []),
        (nic(netdev=("n", Netdev("user", vhost=False))), []),
        (nic(netdev=("n", Netdev("vhost-user", vhost=True))), []),
        (nic(), []),
        # virtio-without-ioeventfd
        (nic(ioeventfd=False), NO_IOEVENTFD),
        (disk(ioeventfd=False), NO_IOEVENTFD),
        (disk(ioeventfd=True), []),
        # virtio-without-msix
        (disk(vectors=0), NO_MSIX),
        (disk(vectors=2), []),
        (disk("virtio-blk-device", vectors=None), []),
        # virtio-legacy
        (nic(modern=False), LEGACY),
        (nic(modern=True), []),
        # what is not paravirtual has none of this
        (
            Device(
                "host0",
                "vfio-pci",
                Kind.OTHER,
                Make.PASSTHROUGH,
                "pci",
                "vfio",
                ioeventfd=False,
                vectors=0,
                modern=False,
            ),
            [],
        ),
        # several at once, in one order
        (
            nic(netdev=TAP, ioeventfd=False, vectors=0, modern=False),
            NO_VHOST + NO_IOEVENTFD + NO_MSIX + LEGACY,
        ),
    ],
    ids=lambda value: "" if isinstance(value, list) else f"{value.driver}",
)
def test_devices(device: Device, expected: list[tuple[str, str]]) -> None:
    """Each rule fires when it should, and is silent when it should be."""
    assert told(device) == expected


@pytest.mark.parametrize(
    ("device", "vcpus", "expected"),
    [
        (nic(queues=1), 3, []),
        (nic(queues=1), 4, SINGLE_QUEUE),
        (nic(queues=2), 64, []),
        (nic(queues=1), None, []),
        (disk(queues=1), 4, SINGLE_QUEUE),
        (disk(queues=None), 4, []),
        (nic("e1000", Make.EMULATED, queues=1), 4, EMULATED_NIC),
        (Device("c", "virtio-serial-pci", Kind.OTHER, Make.PARAVIRTUAL, "pci", queues=1), 64, []),
    ],
)
def test_queues(device: Device, vcpus: int | None, expected: list[tuple[str, str]]) -> None:
    """From four vCPUs on, where the number of queues is known."""
    assert told(device, vcpus) == expected


@pytest.mark.parametrize(
    ("device", "seen"),
    [
        (nic("e1000", Make.EMULATED), "the NIC is an emulated e1000"),
        (disk("nvme", Make.EMULATED), "the disk is an emulated nvme"),
        (nic(netdev=TAP), "netdev net0 has vhost=off"),
        (disk(ioeventfd=False), "the virtio-blk-pci has ioeventfd=off"),
        (disk(vectors=0), "the virtio-blk-pci has vectors=0"),
        (disk(queues=1), "one queue for 64 vCPUs"),
    ],
)
def test_what_was_seen(device: Device, seen: str) -> None:
    """The device model, and the option that made it so."""
    assert [one.seen for one in devices("web", Posture("host", (device,)), 64)] == [seen]
