# SPDX-License-Identifier: Apache-2.0
"""How a VM is built, by its command line alone."""

import json

import pytest

from kvmexporter.model.command_line_posture import MAX_DEVICES, backends, posture
from kvmexporter.model.posture import Backing, Device, Kind, Make, Netdev

QEMU = "/usr/bin/qemu-system-x86_64"
VIRTIO, EMULATED = Make.PARAVIRTUAL, Make.EMULATED


def one(*arguments: str) -> Device:
    (device,) = posture([QEMU, *arguments]).devices
    return device


@pytest.mark.parametrize(
    ("arguments", "model"),
    [
        ((QEMU, "-cpu", "host,migratable=off"), "host"),
        ((QEMU,), "qemu64"),
        (("/usr/bin/qemu-system-aarch64",), ""),
    ],
)
def test_cpu_model(arguments: tuple[str, ...], model: str) -> None:
    """What it is if nobody said."""
    assert posture(arguments).cpu_model == model


@pytest.mark.parametrize(
    ("netdev", "expected"),
    [
        ("user,id=n", Netdev("user")),
        ("tap,id=n,ifname=tap0,vhost=on", Netdev("tap", ("tap0",), (), 1, True)),
        ("tap,id=n,ifname=tap0", Netdev("tap", ("tap0",), (), 1, False)),
        ("tap,id=n,fd=30,vhost=on,vhostfd=31", Netdev("tap", (), (30,), 1, True)),
        ("tap,id=n,fds=30:31,vhostfds=32:33", Netdev("tap", (), (30, 31), 2, True)),
        ("tap,id=n,ifname=t,queues=4,vhost=off", Netdev("tap", ("t",), (), 4, False)),
        ("bridge,id=n,br=br0", Netdev("tap", (), (), 1, False)),
        ("vhost-user,id=n,chardev=c,queues=2", Netdev("vhost-user", (), (), 2, True)),
        ('{"type":"tap","fd":"28","vhost":true,"vhostfd":"30","id":"n"}',
         Netdev("tap", (), (28,), 1, True)),
    ],
)  # fmt: skip
def test_nics(netdev: str, expected: Netdev) -> None:
    """Whether vhost is to serve them is known here, and here alone."""
    nic = one("-netdev", netdev, "-device", "virtio-net-pci,netdev=n,id=nic0")
    assert nic.netdev == ("n", expected)
    assert (nic.name, nic.kind, nic.make, nic.bus) == ("nic0", Kind.NIC, VIRTIO, "pci")
    assert nic.queues == expected.queues
    assert (nic.backend != "qemu") == bool(expected.vhost)
    nic = one("-netdev", netdev, "-device", '{"driver":"e1000","netdev":"n","id":"lan0"}')
    assert (nic.name, nic.make, nic.backend, nic.queues) == ("lan0", EMULATED, "qemu", None)


def test_short_forms_of_nics() -> None:
    """With the machine's own idea of a NIC."""
    assert one("-nic", "user").driver == "e1000"
    assert one("-M", "q35", "-nic", "user").driver == "e1000e"
    assert one("-nic", "tap,ifname=tap0,model=virtio").driver == "virtio-net-pci"
    assert one("-nic", "tap,ifname=tap0").netdev == ("#nic0", Netdev("tap", ("tap0",), vhost=False))
    assert one("-net", "nic,model=rtl8139", "-net", "user").driver == "rtl8139"
    assert posture([QEMU, "-nic", "none"]).devices == ()


@pytest.mark.parametrize(
    ("drive", "expected"),
    [
        ("file=/a,id=d,if=none", Backing("writeback", "threads")),
        ("/a,id=d,if=none,cache=none,aio=native", Backing("none", "native")),
        ("file=/a,id=d,if=none,cache=unsafe", Backing("unsafe", "threads")),
        ("file=/a,id=d,if=none,cache.direct=on,aio=io_uring", Backing("none", "io_uring")),
        ("file=/a,id=d,if=none,cache.no-flush=on", Backing("unsafe", "threads")),
        ("file=nbd:host:10809,id=d,if=none", Backing("writeback", "")),
        ("file=/a,id=d,if=none,readonly=on", Backing("writeback", "threads", read_only=True)),
        ("id=d,if=none", Backing("writeback", "")),
    ],
)
def test_drives(drive: str, expected: Backing) -> None:
    """Cache and aio mode, with QEMU's defaults."""
    disk = one("-drive", drive, "-device", "virtio-blk-pci,drive=d,id=disk0")
    assert disk.drive == ("d", expected)
    assert backends([QEMU, "-drive", drive]).drives == {"d": expected}


def test_drives_that_bring_their_device() -> None:
    """`if=`, and the short options."""
    assert one("-drive", "file=/a,if=virtio").driver == "virtio-blk-pci"
    assert one("-drive", "file=/a").driver == "ide-hd"
    assert one("-hda", "/a").driver == "ide-hd"
    assert one("-cdrom", "/a").kind is Kind.CDROM
    assert posture([QEMU, "-drive", "file=/f,if=pflash"]).devices == ()


def test_nodes() -> None:
    """A format upon a protocol, as libvirt writes them."""
    storage = {"driver": "file", "filename": "/a", "aio": "native", "node-name": "s",
               "cache": {"direct": True, "no-flush": False}}  # fmt: skip
    image = {"node-name": "f", "read-only": False, "driver": "qcow2", "file": "s"}
    device = {"driver": "virtio-blk-pci", "drive": "f", "id": "virtio-disk0",
              "iothread": "iothread1", "num-queues": 4}  # fmt: skip
    disk = one("-blockdev", json.dumps(storage), "-blockdev", json.dumps(image),
               "-device", json.dumps(device))  # fmt: skip
    assert disk.drive == ("f", Backing("none", "native"))
    assert (disk.name, disk.backend, disk.queues) == ("virtio-disk0", "iothread", 4)
    nested = {"node-name": "n", "driver": "raw", "file": {"driver": "file", "filename": "/a"}}
    device |= {"drive": "n", "write-cache": "off"}
    disk = one("-blockdev", json.dumps(nested), "-device", json.dumps(device))
    assert disk.drive == ("n", Backing("writethrough", "threads"))
    circle = {"node-name": "n", "driver": "raw", "file": "n"}
    assert backends([QEMU, "-blockdev", json.dumps(circle)]).drives == {"n": Backing("writeback")}


def test_properties_and_other_devices() -> None:
    """ioeventfd, vectors, modern; SCSI disks by their controller; hardware."""
    nic = one("-device", "virtio-net-pci,netdev=n,ioeventfd=off,vectors=0,disable-modern=on")
    assert (nic.ioeventfd, nic.vectors, nic.modern) == (False, 0, False)
    controller, disk, other = posture(
        [QEMU, "-device", "virtio-scsi-pci,id=s0,iothread=t", "-drive", "file=/a,if=none,id=d",
         "-device", "scsi-hd,drive=d,bus=s0.0", "-device", "scsi-hd,drive=d,bus=lsi.0"]
    ).devices  # fmt: skip
    assert (controller.kind, controller.backend) == (Kind.OTHER, "iothread")
    assert (disk.name, disk.make, disk.backend) == ("scsi-hd", VIRTIO, "iothread")
    assert (other.name, other.make, other.backend) == ("scsi-hd#2", EMULATED, "qemu")
    assert one("-device", "vfio-pci,host=01:00.0").make is Make.PASSTHROUGH
    assert one("-device", "vhost-user-blk-pci,chardev=c").backend == "vhost-user"
    assert one("-device", "virtio-blk-device,drive=d").bus == "virtio-mmio"
    assert posture([QEMU, "-device", "VGA", "-device", "usb-tablet"]).devices == ()


@pytest.mark.parametrize(
    "value",
    [
        "",
        "{",
        "[]",
        '{"driver": 5}',
        '{"driver": {"a": 1}}',
        "{" * 100_000,
        '{"id": [1, 2]}',
        ",,=",
    ],
)
def test_nonsense(value: str) -> None:
    """Users write what they like; nothing fails."""
    for option in ("-device", "-netdev", "-drive", "-blockdev", "-nic"):
        posture([QEMU, option, value])
        backends([QEMU, option, value])


def test_bounds() -> None:
    """A command line may be a mebibyte long."""
    many = [QEMU] + ["-device", "virtio-rng-pci"] * 10_000
    found = posture(many).devices
    assert len(found) == MAX_DEVICES
    assert len({one.name for one in found}) == MAX_DEVICES
