# SPDX-License-Identifier: Apache-2.0
"""What is behind a VM's disks: modes that lose data or time."""

from collections.abc import Iterable, Mapping

from kvmexporter.model.findings import Finding, Rule, Severity, qemu_and_libvirt
from kvmexporter.model.posture import Device, Kind, Make, Posture

# Requests a second from which on a disk's work keeps the VMM's main loop from other devices.
BUSY_PER_SECOND = 1000.0

DISK_CACHE_UNSAFE = Rule(
    "disk-cache-unsafe",
    "A disk ignores the guest's flushes",
    (Severity.WARNING,),
    "what the guest was told is on the disk is lost when the host crashes or loses power, and "
    "its file systems and databases may not recover",
    qemu_and_libvirt("-drive ...,cache=none", "<driver cache='none'/>"),
)
DISK_CACHE_SLOW = Rule(
    "disk-cache-slow",
    "A disk flushes after every write",
    (Severity.INFO,),
    "each write waits for the medium, although guests flush by themselves when they need to",
    qemu_and_libvirt("-drive ...,cache=none", "<driver cache='none'/>"),
)
DISK_AIO_THREADS = Rule(
    "disk-aio-threads",
    "A disk past the host's cache is read and written by a pool of threads",
    (Severity.INFO,),
    "each request costs two changes of thread; with cache=none the kernel takes them directly",
    qemu_and_libvirt(
        "-drive ...,cache=none,aio=native (or aio=io_uring)",
        "<driver cache='none' io='native'/> (or io='io_uring')",
    ),
)
DISK_WITHOUT_IOTHREAD = Rule(
    "disk-without-iothread",
    "A busy virtio disk shares the VMM's main loop",
    (Severity.INFO,),
    "its requests wait for all other devices of the VMM and for its monitor, and they for it",
    qemu_and_libvirt(
        "-object iothread,id=io1 -device virtio-blk-pci,iothread=io1",
        "<iothreads>1</iothreads> and <driver iothread='1'/>",
    ),
)

RULES = (DISK_CACHE_UNSAFE, DISK_CACHE_SLOW, DISK_AIO_THREADS, DISK_WITHOUT_IOTHREAD)


def disks(vm: str, posture: Posture, per_second: Mapping[str, float]) -> Iterable[Finding]:
    """Every disk of a VM that its guest can write.

    Args:
        vm: its name.
        posture: how it is built.
        per_second: device → its guest's accesses; empty if not known.
    """
    for device in posture.devices:
        if device.kind is Kind.DISK and device.drive and not device.drive[1].read_only:
            yield from _backing(vm, device)
        if (
            device.make is Make.PARAVIRTUAL
            and device.driver.startswith(("virtio-blk", "virtio-scsi"))
            and device.backend == "qemu"
            and (rate := per_second.get(device.name, 0.0)) >= BUSY_PER_SECOND
        ):
            yield DISK_WITHOUT_IOTHREAD.finding(
                device.name, f"{rate:,.0f} accesses a second without an I/O thread", vm=vm
            )


def _backing(vm: str, device: Device) -> Iterable[Finding]:
    name, backing = device.drive or ("", None)
    if backing is None:
        return
    if backing.cache == "unsafe":
        yield DISK_CACHE_UNSAFE.finding(device.name, f"drive {name} has cache=unsafe", vm=vm)
    if backing.cache in ("writethrough", "directsync"):
        yield DISK_CACHE_SLOW.finding(device.name, f"drive {name} has cache={backing.cache}", vm=vm)
    if backing.cache in ("none", "directsync") and backing.aio == "threads":
        yield DISK_AIO_THREADS.finding(
            device.name, f"drive {name} has cache={backing.cache} and aio=threads", vm=vm
        )
