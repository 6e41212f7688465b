# SPDX-License-Identifier: Apache-2.0
"""What is wrong with this guest's virtio devices and memory, as it sees them itself."""

from collections.abc import Iterable

from kvmexporter.model.findings import (
    Finding,
    Place,
    Remedy,
    Rule,
    Severity,
    qemu_and_libvirt,
)
from kvmexporter.model.guest_devices import GuestVirtio
from kvmexporter.model.guest_memory import GuestMemory

# Kinds whose interrupts come by the thousand.
_BUSY = ("net", "blk", "scsi", "fs", "vsock")
# A task that waits this share of a minute for memory is noticed by its users.
PRESSURE = 0.1
# Beyond this share huge pages are all but impossible; less free memory than that is no sample.
UNUSABLE = 0.9
_SAMPLE_BYTES = 64 << 20

GUEST_VIRTIO_WITHOUT_DRIVER = Rule(
    "guest-virtio-without-driver",
    "No driver has taken a virtio device of this guest",
    (Severity.WARNING,),
    "the device does nothing: a balloon that nobody inflates, a disk or a NIC that is not there",
    (
        Remedy(
            Place.GUEST,
            "modprobe virtio_balloon, virtio_net, virtio_blk, virtio_scsi, virtio_console or "
            "virtio_rng, whichever it is; see that the kernel and its initramfs have them",
        ),
    ),
)
GUEST_VIRTIO_NO_MSIX = Rule(
    "guest-virtio-no-msix",
    "A virtio device of this guest interrupts by a wire",
    (Severity.WARNING,),
    "all its queues share one interrupt, perhaps with other devices, and each takes exits to find "
    "out who it was and to say that it was served: vhost cannot deliver it by itself",
    (
        *qemu_and_libvirt(
            "leave out vectors=0; -machine q35 or pc with MSI",
            "a <target> or <address> that is PCI, no virtio-mmio",
        ),
        Remedy(Place.GUEST, "boot without pci=nomsi"),
    ),
)
GUEST_MEMORY_PRESSURE = Rule(
    "guest-memory-pressure",
    "This guest waits for memory while its balloon holds some",
    (Severity.WARNING,),
    "its programs stand still while the kernel looks for memory that the host has taken",
    qemu_and_libvirt(
        'QMP {"execute": "balloon", "arguments": {"value": BYTES}} with a larger target',
        "virsh setmem DOMAIN SIZE --live with a larger target",
    ),
)
GUEST_MEMORY_FRAGMENTED = Rule(
    "guest-memory-fragmented",
    "This guest's free memory is in small pieces",
    (Severity.INFO,),
    "no huge page can be made of it, so page tables are walked further, in the guest and in the "
    "host; a balloon takes and gives single pages, and is one cause",
    (
        Remedy(
            Place.GUEST,
            "echo 1 > /proc/sys/vm/compact_memory; move the balloon less often, in larger steps",
        ),
    ),
)
RULES = (
    GUEST_VIRTIO_WITHOUT_DRIVER,
    GUEST_VIRTIO_NO_MSIX,
    GUEST_MEMORY_PRESSURE,
    GUEST_MEMORY_FRAGMENTED,
)


def devices(found: Iterable[GuestVirtio]) -> Iterable[Finding]:
    """Devices that nobody drives, or that interrupt as they did before there was MSI-X."""
    for device in found:
        subject = f"{device.name} ({device.kind})"
        if not device.driver:
            yield GUEST_VIRTIO_WITHOUT_DRIVER.finding(
                subject, f"the {device.kind} device at {device.address} has no driver"
            )
        elif device.kind in _BUSY and device.transport == "pci" and device.interrupts == "intx":
            yield GUEST_VIRTIO_NO_MSIX.finding(
                subject, f"{device.driver} at {device.address} uses INTx"
            )


def memory(found: GuestMemory) -> Iterable[Finding]:
    """Memory that is hard to get, or of little use."""
    waited = found.pressure.recent.get("some", 0.0) if found.pressure else 0.0
    if waited >= PRESSURE and found.in_balloon:
        yield GUEST_MEMORY_PRESSURE.finding(
            "memory",
            f"tasks waited for memory in {waited:.0%} of the last minute, and the balloon holds "
            f"{found.in_balloon / (1 << 20):.0f} MiB",
        )
    unusable = found.unusable
    if unusable is None or found.free_pages * found.page_size < _SAMPLE_BYTES:
        return
    if unusable >= UNUSABLE:
        yield GUEST_MEMORY_FRAGMENTED.finding(
            "memory", f"{unusable:.0%} of the free memory is in pieces smaller than a huge page"
        )
