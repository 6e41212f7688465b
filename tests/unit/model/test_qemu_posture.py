# SPDX-License-Identifier: Apache-2.0
"""How recorded VMs are built, by what their monitors say."""

import pytest

from kvmexporter.model.posture import Backing, Device, Kind, Make, Netdev
from kvmexporter.model.qemu_posture import backings, cpu_model, devices, netdevs
from kvmexporter.model.qtree import parse
from tests.unit.model.recorded import RELEASES, load


def built(release: str, configuration: str, *threaded: str) -> dict[str, Device]:
    recording = load(release, configuration)
    found = devices(
        parse(recording.human("info qtree")),
        netdevs(recording.human("info network")),
        backings(recording.value("query-block")),
        frozenset(threaded),
    )
    assert len({one.name for one in found}) == len(found)
    return {one.name: one for one in found}


@pytest.mark.parametrize("release", RELEASES)
def test_pc(release: str) -> None:
    """Each device of the configuration, and no other."""
    found = built(release, "pc", "threaded-node")
    kinds = {name: (one.kind, one.make, one.bus, one.backend) for name, one in found.items()}
    virtio, emulated = Make.PARAVIRTUAL, Make.EMULATED
    expected = {
        "disk0": (Kind.DISK, virtio, "pci", "qemu"),
        "virtio-blk-pci@00:04.0": (Kind.DISK, virtio, "pci", "iothread"),
        "nic0": (Kind.NIC, virtio, "pci", "qemu"),
        "virtio-net-pci@00:07.0": (Kind.NIC, virtio, "pci", "qemu"),
        "virtio-net-pci@00:08.0": (Kind.NIC, virtio, "pci", "qemu"),
        "lan0": (Kind.NIC, emulated, "pci", "qemu"),
        "e1000@00:0a.0": (Kind.NIC, emulated, "pci", "qemu"),
        "balloon0": (Kind.OTHER, virtio, "pci", "qemu"),
        "scsi0": (Kind.OTHER, virtio, "pci", "qemu"),
        "scsi-disk0": (Kind.DISK, virtio, "scsi", "qemu"),
        "ide-disk0": (Kind.DISK, emulated, "ide", "qemu"),
        "virtio-serial-pci@00:0c.0": (Kind.OTHER, virtio, "pci", "qemu"),
        "virtio-rng-pci@00:0d.0": (Kind.OTHER, virtio, "pci", "qemu"),
    }
    assert kinds == expected
    nic = found["nic0"]
    assert (nic.queues, nic.ioeventfd, nic.vectors, nic.modern) == (1, True, 4, True)
    assert nic.netdev == ("net0", Netdev("user"))
    disk = found["disk0"]
    assert (disk.queues, disk.ioeventfd, disk.vectors, disk.modern) == (2, True, 3, True)
    assert found["ide-disk0"].drive == ("ide-node", Backing("writeback"))


@pytest.mark.parametrize("release", RELEASES)
def test_q35(release: str) -> None:
    """Ioeventfd that is off, queues that were asked for, a SCSI controller's I/O thread."""
    found = built(release, "q35", "threaded-node", "scsi-node")
    assert found["nic0"].ioeventfd is False
    assert found["disk0"].queues == 2
    assert found["disk1"].backend == "iothread"
    assert found["scsi0"].backend == "iothread"
    assert found["lan0"].make is Make.EMULATED
    assert {one.name for one in found.values() if one.bus == "ide"} == {
        "ide-hd@sata-node", "ide-hd@sata1-node",
    }  # fmt: skip


@pytest.mark.parametrize("release", RELEASES)
def test_other_transports_and_back_ends(release: str) -> None:
    """virtio-mmio, vhost-user, and a tap, of which the monitor does not say whether by vhost."""
    found = built(release, "microvm")
    assert {one.bus for one in found.values()} == {"virtio-mmio"}
    disk = found["disk0"]
    assert (disk.driver, disk.vectors, disk.modern) == ("virtio-blk-device", None, True)
    (disk,) = built(release, "q35-vhost-user").values()
    assert (disk.name, disk.kind, disk.backend) == ("disk0", Kind.DISK, "vhost-user")
    (nic,) = built(release, "pc-vhost").values()
    assert nic.netdev == ("net0", Netdev("tap", ("kvmexp-rec0",)))


@pytest.mark.parametrize(
    ("cpu_type", "model"),
    [
        ("host-x86_64-cpu", "host"),
        ("EPYC-v3-x86_64-cpu", "EPYC-v3"),
        ("cortex-a57-arm-cpu", "cortex-a57"),
        ("max-cpu", "max"),
        ("something", "something"),
    ],
)
def test_cpu_model(cpu_type: str, model: str) -> None:
    """QEMU's name of it."""
    assert cpu_model(cpu_type) == model


def test_netdevs() -> None:
    """A queue a line, by name or by descriptor; NICs and hubs are none."""
    text = (
        "nic0: index=0,type=nic,model=virtio-net-pci,macaddr=52:54:00:12:34:56\r\n"
        " \\ net0: index=0,type=tap,fd=30\r\n"
        " \\ net0: index=1,type=tap,fd=31\r\n"
        "hub 0\r\n"
        " \\ hub0port1: index=0,type=hubport,\r\n"
        "net1: index=0,type=tap,ifname=tap1,script=no,downscript=no\r\n"
        "net2: index=0,type=vhost-user,vhost-user0 to socket\r\n"
    )
    assert netdevs(text) == {
        "net0": Netdev("tap", (), (30, 31), 2),
        "net1": Netdev("tap", ("tap1",)),
        "net2": Netdev("vhost-user", vhost=True),
    }
    many = "".join(f"n{number}: index=0,type=tap,\n" for number in range(1000))
    assert len(netdevs(many)) == 256


@pytest.mark.parametrize(
    ("writeback", "direct", "no_flush", "mode"),
    [
        (True, False, False, "writeback"),
        (True, True, False, "none"),
        (False, False, False, "writethrough"),
        (False, True, False, "directsync"),
        (True, False, True, "unsafe"),
    ],
)
def test_backings(writeback: bool, direct: bool, no_flush: bool, mode: str) -> None:
    """The mode's name, by both names of the drive; an empty drive is none."""
    cache = {"writeback": writeback, "direct": direct, "no-flush": no_flush}
    inserted = {"cache": cache, "ro": False, "node-name": "#block1"}
    block = {"device": "root", "inserted": inserted}
    expected = Backing(mode)
    assert backings([block, {"device": "cd"}]) == {"root": expected, "#block1": expected}
