# SPDX-License-Identifier: Apache-2.0
"""What is read of libvirt's status files: recorded ones, and ones that nobody should write."""

import pytest

from kvmexporter.model.libvirt_domain import (
    MAX_DEVICES,
    LibvirtDevice,
    NotADomainError,
    parse_status,
)
from kvmexporter.model.vm import MAX_NAME_LENGTH

UUID = "8c8f1b5e-1f57-4d0c-9b0e-2b8b6d6a4d11"


def status(domain: str = "", name: str = "web", pid: object = 4242) -> bytes:
    """A status file with this inside of its domain."""
    return (
        f"<domstatus state='running' reason='booted' pid='{pid}'>"
        "<monitor path='/var/lib/libvirt/qemu/domain-1-web/monitor.sock' type='unix'/>"
        f"<domain type='kvm' id='1'><name>{name}</name><uuid>{UUID}</uuid>{domain}</domain>"
        "</domstatus>"
    ).encode()


def device(xml: str) -> LibvirtDevice:
    """The only device of a domain."""
    (found,) = parse_status(status(f"<devices>{xml}</devices>")).devices
    return found


def test_identity() -> None:
    """Name, uuid, process and libvirt's own monitor."""
    domain = parse_status(status())
    assert (domain.name, domain.uuid, domain.pid, domain.state) == ("web", UUID, 4242, "running")
    assert domain.monitor == "/var/lib/libvirt/qemu/domain-1-web/monitor.sock"
    assert (domain.vcpus, domain.memory_max_bytes, domain.balloon) == (None, None, None)
    assert domain.devices == ()


def test_sizes() -> None:
    """In bytes, whatever the unit; the balloon's target apart from what there is."""
    domain = parse_status(
        status(
            "<memory unit='KiB'>196608</memory><currentMemory unit='MiB'>160</currentMemory>"
            "<vcpu placement='static' current='2'>4</vcpu><iothreads>3</iothreads>"
        )
    )
    assert domain.memory_max_bytes == 192 << 20
    assert domain.current_memory_bytes == 160 << 20
    assert (domain.vcpus, domain.iothreads) == (2, 3)


@pytest.mark.parametrize(
    ("xml", "alias", "driver", "path"),
    [
        ("<disk type='file'><target dev='vda' bus='virtio'/><alias name='virtio-disk0'/></disk>",
         "virtio-disk0", "virtio-blk-pci", "virtio"),
        ("<disk type='vhostuser'><target dev='vda' bus='virtio'/><alias name='ua-d'/></disk>",
         "ua-d", "vhost-user-blk-pci", "vhost"),
        ("<interface type='bridge'><model type='virtio'/><alias name='net0'/></interface>",
         "net0", "virtio-net-pci", "virtio"),
        ("<interface type='bridge'><model type='virtio'/><driver name='vhost'/>"
         "<alias name='net0'/></interface>", "net0", "virtio-net-pci", "vhost"),
        ("<interface type='vhostuser'><model type='virtio'/><alias name='net0'/></interface>",
         "net0", "virtio-net-pci", "vhost"),
        ("<interface type='user'><model type='e1000'/><alias name='net1'/></interface>",
         "net1", "e1000", "emulated"),
        ("<interface type='hostdev'><alias name='hostdev0'/></interface>",
         "hostdev0", "vfio-pci", "passthrough"),
        ("<hostdev mode='subsystem' type='pci'><alias name='hostdev1'/></hostdev>",
         "hostdev1", "vfio-pci", "passthrough"),
        ("<controller type='ide' index='0'><alias name='ide'/></controller>",
         "ide", "piix3-ide", "emulated"),
        ("<controller type='scsi' model='virtio-scsi'><alias name='scsi0'/></controller>",
         "scsi0", "virtio-scsi-pci", "virtio"),
        ("<controller type='scsi' model='lsilogic'><alias name='scsi0'/></controller>",
         "scsi0", "lsi", "emulated"),
        ("<controller type='virtio-serial'><alias name='virtio-serial0'/></controller>",
         "virtio-serial0", "virtio-serial-pci", "virtio"),
        ("<memballoon model='virtio'><alias name='balloon0'/></memballoon>",
         "balloon0", "virtio-balloon-pci", "virtio"),
        ("<rng model='virtio'><alias name='rng0'/></rng>", "rng0", "virtio-rng-pci", "virtio"),
        ("<vsock model='virtio'><alias name='vsock0'/></vsock>",
         "vsock0", "vhost-vsock-pci", "vhost"),
        ("<video><model type='virtio'/><alias name='video0'/></video>",
         "video0", "virtio-gpu-pci", "virtio"),
        ("<video><model type='cirrus'/><alias name='video0'/></video>",
         "video0", "cirrus-vga", "emulated"),
        ("<serial type='pty'><target type='isa-serial'><model name='isa-serial'/></target>"
         "<alias name='serial0'/></serial>", "serial0", "isa-serial", "emulated"),
        ("<gadget model='new'><alias name='gadget0'/></gadget>", "gadget0", "new", "emulated"),
    ],
)  # fmt: skip
def test_devices(xml: str, alias: str, driver: str, path: str) -> None:
    """By QEMU's id, with QEMU's name of the model and the path of its data."""
    found = device(xml)
    assert (found.alias, found.qemu_driver, found.path) == (alias, driver, path)


def test_how_a_device_was_asked_for() -> None:
    """What the user chose, and nothing that was left to QEMU."""
    disk = device(
        "<disk type='block' device='disk'><driver name='qemu' type='raw' cache='none' io='native' "
        "ioeventfd='off' queues='2' iothread='1'/><target dev='vda' bus='virtio'/>"
        "<address type='pci' domain='0x0000' bus='0x00' slot='0x1f' function='0x7'/></disk>"
    )
    assert disk.pci == "00:1f.7"
    assert (disk.source, disk.target) == ("block", "vda")
    assert disk.driver == {
        "name": "qemu", "type": "raw", "cache": "none", "io": "native", "ioeventfd": "off",
        "queues": "2", "iothread": "1",
    }  # fmt: skip


def test_a_balloon() -> None:
    """Its options, and how often its guest is asked."""
    domain = parse_status(
        status(
            "<devices><memballoon model='virtio' autodeflate='on' freePageReporting='on'>"
            "<stats period='10'/><alias name='balloon0'/></memballoon></devices>"
        )
    )
    assert domain.balloon
    assert domain.balloon.stats_period == 10
    assert domain.balloon.options["autodeflate"] == domain.balloon.options["freePageReporting"]
    without = parse_status(status("<devices><memballoon model='none'/></devices>"))
    assert without.balloon is None


@pytest.mark.parametrize(
    "text",
    [
        b"", b"\0", b"\xff\xfe", b"<domstatus", b"<domstatus/>", b"<domain/>", b"{}",
        b"<?xml version='1.0' encoding='no-such'?><domstatus/>",
        status(pid="0"), status(pid="-1"), status(pid="1e9"), status(pid="9" * 5000),
        b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + status(name="&b;"),
        b"<!DOCTYPE a SYSTEM 'file:///etc/passwd'>" + status(),
        b"<!DOCTYPE a [" + b"".join(
            b"<!ENTITY e%d '%s'>" % (n + 1, b"&e%d;" % n * 10) for n in range(30)
        ) + b"]>" + status(name="&e30;"),
    ],
)  # fmt: skip
def test_no_domain(text: bytes) -> None:
    """One line says why, of a bounded length."""
    with pytest.raises(NotADomainError) as caught:
        parse_status(text)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 2 * MAX_NAME_LENGTH


def test_a_hostile_domain() -> None:
    """Its words are bounded and printable, its devices are so many and no more."""
    odd = "&#10;&lt;b&gt;" + "n" * 10_000
    devices = f"<disk type='{odd}'><alias name='{odd}'/><driver {'x' * 300}='{odd}'/></disk>"
    numbers = "<memory unit='parsec'>7</memory><vcpu>many</vcpu><iothreads>-3</iothreads>"
    domain = parse_status(
        status(numbers + f"<devices>{devices * 1000}</devices>", name=odd.replace("&#10;", "\x85"))
    )
    assert len(domain.devices) == MAX_DEVICES
    assert (domain.memory_max_bytes, domain.vcpus, domain.iothreads) == (None, None, 0)
    (name, value), *_ = domain.devices[0].driver.items()
    for text in (domain.name, domain.devices[0].alias, domain.devices[0].source, name, value):
        assert text.isprintable()
        assert len(text) == MAX_NAME_LENGTH


def test_a_uuid_that_is_none() -> None:
    """Is left out: it may come to be an argument of a command."""
    text = status().replace(UUID.encode(), b"--connect=x; rm")
    assert parse_status(text).uuid == ""
