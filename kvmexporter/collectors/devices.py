# SPDX-License-Identifier: Apache-2.0
"""Which devices a VM has, and what its guest has made of the virtio ones.

Reads nothing itself: what the VMM said last of its devices, over QMP in the background, or else
libvirt in the domain's status, or the command line. That is at most a refresh old, and a scrape
costs nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from kvmexporter.collector import Collector, Cycle
from kvmexporter.model.metrics import Family, Kind, Metric
from kvmexporter.model.posture import Device
from kvmexporter.model.vm_devices import VmDevices
from kvmexporter.needs import LIBVIRT, PID_NAMESPACE, QMP

_VIRTIO, _LEGACY = "devices.virtio", "devices.legacy"

INFO = Metric(
    "kvm_vm_device_info",
    Kind.INFO,
    "A device of the VM and the path that its data takes: emulated: a device model in the VMM; "
    "virtio: queues that the VMM serves; vhost: queues that the kernel or a process of their own "
    "serves; passthrough: hardware. bus, back end (qemu, iothread, vhost, vhost-user, vfio), "
    "queues, ioeventfd and msix (on, off) are empty where they are not known or do not apply. "
    "Left out: platform devices and PCI bridges, and unless they are asked for what sits on the "
    "board of every PC: keyboard controller, serial ports, floppy, RTC, HPET.",
    ("vm", "device", "driver", "path", "bus", "backend", "queues", "ioeventfd", "msix"),
    "QMP info mtree, info qtree, query-pci, x-query-virtio-status; else libvirt's domain XML "
    "and the command line",
    more=_LEGACY,
)
FEATURE = Metric(
    "kvm_vm_virtio_feature",
    Kind.GAUGE,
    "A feature that a virtio device's driver in the guest has accepted: always 1. Of the features "
    "that matter for speed and correctness; those that are off have no series.",
    ("vm", "device", "feature"),
    "QMP x-query-virtio-status",
    extra=_VIRTIO,
)
QUEUE_SIZE = Metric(
    "kvm_vm_virtqueue_size",
    Kind.GAUGE,
    "Entries of a virtqueue of a device that the guest drives.",
    ("vm", "device", "queue"),
    "QMP x-query-virtio-queue-status",
    extra=_VIRTIO,
)

# On the board of every PC that QEMU makes; no disk, no NIC, nothing that data passes in quantity.
LEGACY_DRIVERS = frozenset(
    {"i8042", "isa-serial", "isa-parallel", "isa-fdc", "mc146818rtc", "hpet", "isa-pcspk", "port92",
     "vmport", "vmmouse"}
)  # fmt: skip

# virtio 1.3, sections 6 and 5.x.3, as QEMU spells them (hw/virtio/virtio-qmp.c, 10.0). Every
# device: modern, notifications suppressed, the packed ring, translated by a vIOMMU.
EVERY_DEVICE = ("F_VERSION_1", "RING_F_EVENT_IDX", "F_RING_PACKED", "F_IOMMU_PLATFORM")
OF_TYPE = {
    "virtio-net": (
        "RING_F_INDIRECT_DESC", "NET_F_MQ", "NET_F_MRG_RXBUF", "NET_F_CSUM", "NET_F_HOST_TSO4",
        "NET_F_GUEST_TSO4",
    ),
    "virtio-blk": (
        "RING_F_INDIRECT_DESC", "BLK_F_MQ", "BLK_F_FLUSH", "BLK_F_CONFIG_WCE", "BLK_F_DISCARD",
        "BLK_F_RO",
    ),
    "virtio-scsi": ("RING_F_INDIRECT_DESC", "SCSI_F_HOTPLUG", "SCSI_F_CHANGE"),
    "virtio-balloon": (
        "BALLOON_F_STATS_VQ", "BALLOON_F_DEFLATE_ON_OOM", "BALLOON_F_FREE_PAGE_HINT",
        "BALLOON_F_REPORTING",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class DevicesSample:
    """The devices of one VM, by its name."""

    vm: str
    devices: VmDevices


class DevicesCollector(Collector[list[DevicesSample]]):
    """Devices, virtio features and virtqueues."""

    name = "devices"
    summary = "which devices VMs have, and what their guests negotiated with the virtio ones"
    metrics = (INFO, FEATURE, QUEUE_SIZE)
    extras: ClassVar[Mapping[str, str]] = {
        "virtio": "Also serve the features and the sizes of the queues that guests' virtio drivers "
        "have accepted: some fifty series a VM that do not move.",
        "legacy": "Also list what sits on the board of every PC.",
    }
    needs = (PID_NAMESPACE,)
    wants = (QMP, LIBVIRT)

    def sample(self, cycle: Cycle) -> list[DevicesSample]:
        """Bring together what is known of each VM."""
        return [DevicesSample(vm.name, cycle.devices(vm)) for vm in cycle.vms]

    def families(self, sample: list[DevicesSample]) -> Iterable[Family]:
        """One series a device, a feature that is on, a queue in use."""
        info, feature, queue_size = (Family(metric) for metric in self.metrics)
        legacy = _LEGACY in self.sources.extras
        for one in sample:
            built = one.devices.built()
            info.group(
                (one.vm,),
                {
                    (*target, *_how(built.get(target.device))): 1
                    for target in one.devices.targets
                    if legacy or target.driver not in LEGACY_DRIVERS
                },
            )
            # Half a hundred a VM, for nothing where nobody asks.
            all_virtio = one.devices.virtio if _VIRTIO in self.sources.extras else {}
            for device, virtio in all_virtio.items():
                for name in _told(virtio.name):
                    if name in virtio.features:
                        feature.add(1, one.vm, device, name)
                for queue, entries in virtio.queue_sizes.items():
                    if entries:
                        queue_size.add(entries, one.vm, device, str(queue))
        return info, feature, queue_size


def _told(kind: str) -> tuple[str, ...]:
    """The features that are told of a type of device."""
    return (*EVERY_DEVICE, *OF_TYPE.get(kind, ()))


def _how(device: Device | None) -> tuple[str, str, str, str, str]:
    """Bus, back end, queues, ioeventfd, MSI-X."""
    if device is None:
        return "", "", "", "", ""
    msix = None if device.vectors is None else device.vectors > 0
    queues = "" if device.queues is None else str(device.queues)
    return device.bus, device.backend, queues, _switch(device.ioeventfd), _switch(msix)


def _switch(value: bool | None) -> str:
    return "" if value is None else "on" if value else "off"
