# SPDX-License-Identifier: Apache-2.0
"""Devices that cost a guest more than they have to: what they are, and who does their work."""

from collections.abc import Iterable

from kvmexporter.model.findings import Finding, Rule, Severity, qemu_and_libvirt
from kvmexporter.model.posture import Device, Kind, Make, Posture

# From so many vCPUs on, one queue is a lock that they share.
MANY_VCPUS = 4

NIC_EMULATED = Rule(
    "nic-emulated",
    "A NIC is emulated where virtio would do",
    (Severity.WARNING,),
    "each packet costs several exits to the VMM, which plays the registers of a chip, copies the "
    "data and raises a legacy interrupt; offloads and several queues are out of reach",
    qemu_and_libvirt("-device virtio-net-pci,netdev=NETDEV", "<model type='virtio'/>"),
)
DISK_EMULATED = Rule(
    "disk-emulated",
    "A disk is emulated where virtio would do",
    (Severity.WARNING,),
    "each request costs many exits to the VMM, few requests are in flight at a time, and no I/O "
    "thread can take them off the VMM's main loop",
    qemu_and_libvirt(
        "-device virtio-blk-pci,drive=DRIVE, or -device scsi-hd on a virtio-scsi-pci controller",
        "<target dev='vda' bus='virtio'/>, or bus='scsi' with "
        "<controller type='scsi' model='virtio-scsi'/>",
    ),
)
NIC_WITHOUT_VHOST = Rule(
    "nic-without-vhost",
    "A virtio NIC on a tap is served by the VMM instead of vhost-net",
    (Severity.WARNING,),
    "each packet is copied through the VMM's process, on the main loop that all of its devices "
    "share, with two more changes between kernel and user space",
    qemu_and_libvirt(
        "-netdev tap,...,vhost=on (modprobe vhost_net on the host)", "<driver name='vhost'/>"
    ),
)
VIRTIO_WITHOUT_IOEVENTFD = Rule(
    "virtio-without-ioeventfd",
    "A virtio device's doorbells are exits to the VMM",
    (Severity.WARNING,),
    "with ioeventfd the kernel notes a kick and lets the vCPU go on at once; without it the vCPU "
    "waits until the VMM has taken it, and neither vhost nor an I/O thread can work",
    qemu_and_libvirt("-device DEVICE,ioeventfd=on", "<driver ioeventfd='on'/>"),
)
VIRTIO_WITHOUT_MSIX = Rule(
    "virtio-without-msix",
    "A virtio device has no MSI-X",
    (Severity.WARNING,),
    "its queues share a legacy interrupt line: each interrupt costs a read of the status register "
    "at the VMM, vhost cannot inject it by itself, and no queue can be tied to a CPU",
    qemu_and_libvirt("-device DEVICE without vectors=0", "<qemu:commandline> without vectors=0"),
)
VIRTIO_LEGACY = Rule(
    "virtio-legacy",
    "A virtio device speaks the legacy protocol",
    (Severity.WARNING,),
    "before virtio 1.0 the rings are in the guest's own byte order, device memory is reached "
    "through slow I/O ports, and packed rings and IOMMUs are out of reach",
    qemu_and_libvirt(
        "-device DEVICE,disable-modern=off, and a driver in the guest that knows virtio 1.0",
        "<model type='virtio-non-transitional'/> for a NIC, <disk model='virtio-non-transitional'>",
    ),
)
SINGLE_QUEUE = Rule(
    "single-queue",
    "A virtio device has one queue for many vCPUs",
    (Severity.INFO,),
    "all vCPUs take turns at one ring, and all of its interrupts and its host thread are on one "
    "CPU each",
    qemu_and_libvirt(
        "NIC: -netdev tap,queues=N and -device virtio-net-pci,mq=on,vectors=2N+2; disk: "
        "-device virtio-blk-pci,num-queues=N",
        "<driver queues='N'/>",
    ),
)

RULES = (
    NIC_EMULATED,
    DISK_EMULATED,
    NIC_WITHOUT_VHOST,
    VIRTIO_WITHOUT_IOEVENTFD,
    VIRTIO_WITHOUT_MSIX,
    VIRTIO_LEGACY,
    SINGLE_QUEUE,
)


def devices(vm: str, posture: Posture, vcpus: int | None) -> Iterable[Finding]:
    """Every device of a VM.

    Args:
        vm: its name.
        posture: how it is built.
        vcpus: how many it has, None if that is not known.
    """
    for device in posture.devices:
        if device.make is Make.EMULATED:
            yield from _emulated(vm, device)
        elif device.make is Make.PARAVIRTUAL:
            yield from _virtio(vm, device)
            yield from _queues(vm, device, vcpus or 1)


def _emulated(vm: str, device: Device) -> Iterable[Finding]:
    rule = {Kind.NIC: NIC_EMULATED, Kind.DISK: DISK_EMULATED}.get(device.kind)
    if rule:
        what = "NIC" if device.kind is Kind.NIC else "disk"
        yield rule.finding(device.name, f"the {what} is an emulated {device.driver}", vm=vm)


def _virtio(vm: str, device: Device) -> Iterable[Finding]:
    if (
        device.kind is Kind.NIC
        and device.netdev
        and device.netdev[1].type == "tap"
        and device.netdev[1].vhost is False
    ):
        name = device.netdev[0]
        yield NIC_WITHOUT_VHOST.finding(device.name, f"netdev {name} has vhost=off", vm=vm)
    if device.ioeventfd is False:
        yield VIRTIO_WITHOUT_IOEVENTFD.finding(
            device.name, f"the {device.driver} has ioeventfd=off", vm=vm
        )
    if device.vectors == 0:
        yield VIRTIO_WITHOUT_MSIX.finding(device.name, f"the {device.driver} has vectors=0", vm=vm)
    if device.modern is False:
        yield VIRTIO_LEGACY.finding(
            device.name, f"the {device.driver} offers no virtio 1.0, or its driver takes none",
            vm=vm,
        )  # fmt: skip


def _queues(vm: str, device: Device, vcpus: int) -> Iterable[Finding]:
    if device.kind in (Kind.NIC, Kind.DISK) and device.queues == 1 and vcpus >= MANY_VCPUS:
        yield SINGLE_QUEUE.finding(device.name, f"one queue for {vcpus} vCPUs", vm=vm)
