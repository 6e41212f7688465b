# SPDX-License-Identifier: Apache-2.0
"""The VMs that `record.py` records: real ones' devices, and what is awkward about them.

Devices with and without an id, several of a kind without one, behind bridges, with notification
windows of their own, without ioeventfd, served by an I/O thread or by another process.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Configuration:
    """One VM to record.

    Attributes:
        name: of the VM and its recording.
        machine: the type with its options.
        devices: further arguments; `{directory}` is one for this run.
        driven: which virtio devices the guest initialises, by order of their PCI slots.
        boots: whether the guest runs before it is asked about.
        memory_mib: the VM's RAM.
        backend: command line of a process that makes its socket in `{directory}` first.
        needs: files without which the host cannot run this VM.
    """

    name: str
    machine: str
    devices: tuple[str, ...]
    driven: tuple[int, ...] = ()
    boots: bool = True
    memory_mib: int = 32
    backend: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()


def _disk(node: str) -> tuple[str, ...]:
    return ("-blockdev", f"null-co,node-name={node},size=1048576,read-zeroes=on")


def _nic(netdev: str, device: str) -> tuple[str, ...]:
    # No boot ROM: the firmware would run each one, for seconds.
    return (
        *("-netdev", f"user,id={netdev}"),
        *("-device", f"{device},netdev={netdev},romfile="),
    )


_IOTHREAD = ("-object", "iothread,id=thread0")

_CONSOLES = (
    *("-chardev", "null,id=console-log", "-device", "virtconsole,chardev=console-log"),
    *("-chardev", "socket,id=agent,path={directory}/agent.sock,server=on,wait=off"),
    *("-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0,id=agent-port"),
)

_PC_DEVICES = (
    *("-uuid", "6f0b7a0e-3f5e-4c39-9a6b-2f7d1c0e5a11"),
    *_IOTHREAD,
    *("-device", "VGA"),
    # The four that the guest's driver initialises.
    *_disk("disk0-node"),
    *("-device", "virtio-blk-pci,drive=disk0-node,id=disk0"),
    *_disk("threaded-node"),
    *("-device", "virtio-blk-pci,drive=threaded-node,iothread=thread0"),
    *_nic("net0", "virtio-net-pci,id=nic0"),
    *("-device", "virtio-balloon-pci,id=balloon0"),
    # Two NICs without an id, then an emulated one with and one without.
    *_nic("net1", "virtio-net-pci"),
    *_nic("net2", "virtio-net-pci"),
    *_nic("net3", "e1000,id=lan0"),
    *_nic("net4", "e1000"),
    *("-device", "virtio-scsi-pci,id=scsi0"),
    *_disk("scsi-node"),
    *("-device", "scsi-hd,drive=scsi-node,bus=scsi0.0,id=scsi-disk0"),
    *("-device", "virtio-serial-pci"),
    *_CONSOLES,
    *("-device", "virtio-rng-pci"),
    *_disk("ide-node"),
    *("-device", "ide-hd,drive=ide-node,bus=ide.0,id=ide-disk0"),
    *("-chardev", "null,id=second", "-device", "isa-serial,chardev=second,id=com2"),
    *("-device", "piix3-usb-uhci,id=usb", "-device", "usb-tablet"),
    *("-device", "pvpanic"),
)

_Q35_DEVICES = (
    *("-uuid", "0b9c2d64-8a57-4f0e-8d4e-7f2f1d8f6c35"),
    *_IOTHREAD,
    *("-device", "VGA,id=video0"),
    # The four that the guest's driver initialises.
    *_disk("disk0-node"),
    *("-device", "virtio-blk-pci,drive=disk0-node,id=disk0,page-per-vq=on,num-queues=2"),
    *_disk("threaded-node"),
    *("-device", "virtio-blk-pci,drive=threaded-node,iothread=thread0,id=disk1"),
    *_nic("net0", "virtio-net-pci,id=nic0,ioeventfd=off"),
    *("-device", "virtio-balloon-pci"),
    # Behind root ports there is nothing but PCI Express.
    *("-device", "pcie-root-port,id=port1,chassis=1,slot=1"),
    *("-device", "pcie-root-port,id=port2,chassis=2,slot=2"),
    *("-device", "pcie-root-port,id=port3,chassis=3,slot=3"),
    *("-device", "pcie-root-port,id=port4,chassis=4,slot=4"),
    *("-device", "pcie-root-port,chassis=5,slot=5"),
    *_nic("net1", "virtio-net-pci,bus=port1"),
    *_nic("net2", "virtio-net-pci,bus=port2"),
    *_disk("far-node"),
    *("-device", "virtio-blk-pci,drive=far-node,bus=port3,id=far0"),
    *_nic("net3", "e1000e,bus=port4,id=lan0"),
    *_nic("net4", "e1000"),
    *("-device", "virtio-scsi-pci,id=scsi0,iothread=thread0"),
    *_disk("scsi-node"),
    *("-device", "scsi-hd,drive=scsi-node,bus=scsi0.0"),
    *("-device", "virtio-serial-pci,id=channel0"),
    *_CONSOLES,
    *("-device", "virtio-rng-pci,id=rng0"),
    *_disk("sata-node"),
    *("-device", "ide-hd,drive=sata-node,bus=ide.0"),
    *("-device", "ahci,id=sata1"),
    *_disk("sata1-node"),
    *("-device", "ide-hd,drive=sata1-node,bus=sata1.0"),
    *("-device", "qemu-xhci", "-device", "usb-tablet"),
    *("-device", "i6300esb"),
)

_MICROVM_DEVICES = (
    *("-global", "virtio-mmio.force-legacy=false"),
    *_disk("disk0-node"),
    *("-device", "virtio-blk-device,drive=disk0-node,id=disk0"),
    *("-netdev", "user,id=net0", "-device", "virtio-net-device,netdev=net0,id=nic0"),
    *("-netdev", "user,id=net1", "-device", "virtio-net-device,netdev=net1"),
    *("-device", "virtio-balloon-device"),
    *("-device", "virtio-rng-device,id=rng0"),
    *("-device", "virtio-serial-device", *_CONSOLES),
)

_VHOST_USER_SOCKET = "{directory}/vhost-user.sock"

CONFIGURATIONS = (
    Configuration("pc", "pc,hpet=on", _PC_DEVICES, driven=(0, 1, 2, 3)),
    Configuration("q35", "q35,hpet=on", _Q35_DEVICES, driven=(0, 1, 2, 3)),
    # What is seen of a VM before its firmware has given the BARs addresses.
    Configuration("pc-unmapped", "pc,hpet=on", ("-S", *_PC_DEVICES), boots=False),
    Configuration("microvm", "microvm", _MICROVM_DEVICES),
    Configuration(
        "q35-vhost-user",
        "q35",
        (
            *("-chardev", f"socket,id=backend,path={_VHOST_USER_SOCKET}"),
            *("-device", "vhost-user-blk-pci,chardev=backend,id=disk0,num-queues=1"),
        ),
        driven=(0,),
        backend=(
            *("qemu-storage-daemon", "--blockdev"),
            "null-co,node-name=exported,size=1048576,read-zeroes=on",
            "--export",
            "vhost-user-blk,id=export,node-name=exported,writable=on,"
            f"addr.type=unix,addr.path={_VHOST_USER_SOCKET}",
        ),
    ),
    Configuration(
        "pc-vhost",
        "pc",
        (
            *("-netdev", "tap,id=net0,ifname=kvmexp-rec0,script=no,downscript=no,vhost=on"),
            *("-device", "virtio-net-pci,netdev=net0,id=nic0,romfile="),
        ),
        driven=(0,),
        needs=("/dev/vhost-net", "/dev/net/tun"),
    ),
)
