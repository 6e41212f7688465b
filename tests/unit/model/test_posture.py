# SPDX-License-Identifier: Apache-2.0
"""How a VM is built: what only the command line tells."""

from kvmexporter.model.posture import (
    Backends,
    Backing,
    Device,
    Kind,
    Make,
    Netdev,
    Posture,
    completed,
    nic_backend,
)


def test_who_serves_a_nic() -> None:
    """By what is behind it."""
    assert nic_backend(Netdev("tap", vhost=True)) == "vhost"
    assert nic_backend(Netdev("tap", vhost=False)) == "qemu"
    assert nic_backend(Netdev("tap")) == "qemu"
    assert nic_backend(Netdev("vhost-user", vhost=True)) == "vhost-user"
    assert nic_backend(Netdev("vhost-vdpa")) == "vhost-vdpa"


def test_completed() -> None:
    """vhost, queues and taps of a NIC; the aio mode of a disk; nothing of what is not there."""
    seen = Posture(
        "host",
        (
            Device("nic0", "virtio-net-pci", Kind.NIC, Make.PARAVIRTUAL, "pci",
                   netdev=("net0", Netdev("tap", fds=(30,)))),
            Device("lan0", "e1000", Kind.NIC, Make.EMULATED, "pci",
                   netdev=("net0", Netdev("tap"))),
            Device("late0", "virtio-net-pci", Kind.NIC, Make.PARAVIRTUAL, "pci",
                   netdev=("late", Netdev("tap"))),
            Device("disk0", "ide-hd", Kind.DISK, Make.EMULATED, "ide",
                   drive=("root", Backing("writeback"))),
            Device("balloon0", "virtio-balloon-pci", Kind.OTHER, Make.PARAVIRTUAL, "pci"),
        ),
    )  # fmt: skip
    backends = Backends(
        {"net0": Netdev("tap", ("tap0",), (), 4, True)}, {"root": Backing("none", "io_uring")}
    )
    nic, lan, late, disk, balloon = completed(seen, backends).devices
    assert nic.netdev == ("net0", Netdev("tap", ("tap0",), (30,), 4, True))
    assert (nic.backend, nic.queues) == ("vhost", 4)
    assert (lan.backend, lan.queues) == ("qemu", None)
    assert late == seen.devices[2]
    assert disk.drive == ("root", Backing("writeback", "io_uring"))
    assert balloon == seen.devices[4]


def test_a_guest_that_cannot_flush() -> None:
    """QEMU flushes for it, and says so; it was not built like that."""
    for given, seen, expected in (
        ("none", "directsync", "none"),
        ("writeback", "writethrough", "writeback"),
        ("directsync", "directsync", "directsync"),
        ("writeback", "unsafe", "unsafe"),
        ("writeback", "directsync", "directsync"),
    ):
        disk = Device("d", "virtio-blk-pci", Kind.DISK, Make.PARAVIRTUAL, "pci",
                      drive=("root", Backing(seen)))  # fmt: skip
        backends = Backends(drives={"root": Backing(given, "threads")})
        (after,) = completed(Posture("", (disk,)), backends).devices
        assert after.drive == ("root", Backing(expected, "threads"))
