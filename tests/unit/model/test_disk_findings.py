# SPDX-License-Identifier: Apache-2.0
"""Advice on what is behind disks: when it is given, and when it is not."""

import pytest

from kvmexporter.model.disk_findings import disks
from kvmexporter.model.posture import Backing, Device, Kind, Make, Posture


def disk(
    backing: Backing, driver: str = "virtio-blk-pci", backend: str = "qemu", kind: Kind = Kind.DISK
) -> Device:
    make = Make.PARAVIRTUAL if driver.startswith("virtio") else Make.EMULATED
    return Device("disk0", driver, kind, make, "pci", backend, drive=("root", backing))


def told(device: Device, per_second: float = 0.0) -> list[tuple[str, str]]:
    rates = {"disk0": per_second, "other": 1e6}
    found = list(disks("web", Posture("host", (device,)), rates))
    for finding in found:
        assert (finding.vm, finding.subject) == ("web", "disk0")
        assert all((finding.seen, finding.matters, finding.remedy))
    return [(finding.rule, finding.severity.value) for finding in found]


UNSAFE = ("disk-cache-unsafe", "warning")
SLOW = ("disk-cache-slow", "info")
THREADS = ("disk-aio-threads", "info")
NO_IOTHREAD = ("disk-without-iothread", "info")


@pytest.mark.parametrize(
    ("cache", "aio", "expected"),
    [
        ("", "", []),
        ("none", "native", []),
        ("none", "io_uring", []),
        ("none", "", []),
        ("none", "threads", [THREADS]),
        ("writeback", "threads", []),
        ("writethrough", "threads", [SLOW]),
        ("directsync", "native", [SLOW]),
        ("directsync", "threads", [SLOW, THREADS]),
        ("unsafe", "threads", [UNSAFE]),
    ],
)
def test_modes(cache: str, aio: str, expected: list[tuple[str, str]]) -> None:
    """Those that lose data or time, whatever the device is."""
    assert told(disk(Backing(cache, aio))) == expected
    assert told(disk(Backing(cache, aio), "ide-hd")) == expected
    assert told(disk(Backing(cache, aio, read_only=True))) == []
    assert told(disk(Backing(cache, aio), "ide-cd", kind=Kind.CDROM)) == []


@pytest.mark.parametrize(
    ("driver", "backend", "per_second", "expected"),
    [
        ("virtio-blk-pci", "qemu", 999.9, []),
        ("virtio-blk-pci", "qemu", 1000.0, [NO_IOTHREAD]),
        ("virtio-scsi-pci", "qemu", 5000.0, [NO_IOTHREAD]),
        ("virtio-blk-pci", "iothread", 1e6, []),
        ("vhost-user-blk-pci", "vhost-user", 1e6, []),
        ("virtio-net-pci", "qemu", 1e6, []),
        ("ide-hd", "qemu", 1e6, []),
    ],
)
def test_busy_disks(
    driver: str, backend: str, per_second: float, expected: list[tuple[str, str]]
) -> None:
    """A virtio disk, or its controller, that QEMU's main loop serves."""
    assert told(disk(Backing("none", "native"), driver, backend), per_second) == expected
