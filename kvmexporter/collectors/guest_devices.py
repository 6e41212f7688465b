# SPDX-License-Identifier: Apache-2.0
"""The virtio devices of a guest, from inside: who drives them, and what both sides agreed on.

Reads sysfs: six small files and links a device.
"""

from collections.abc import Iterable

from kvmexporter.collector import Collector, Cycle
from kvmexporter.errors import Unavailable
from kvmexporter.model import guest_findings
from kvmexporter.model.findings import Finding
from kvmexporter.model.guest_devices import GuestVirtio
from kvmexporter.model.metrics import Family, Kind, Metric
from kvmexporter.needs import GUEST_ROLE
from kvmexporter.sources.guest_virtio import guest_virtio

INFO = Metric(
    "kvm_guest_virtio_device_info",
    Kind.INFO,
    'A virtio device of this guest; driver "": none has taken it; interrupts: msix, or intx, one '
    "wire for all its queues.",
    ("device", "type", "driver", "transport", "address", "interrupts"),
    "/sys/bus/virtio/devices",
)
READY = Metric(
    "kvm_guest_virtio_device_ready",
    Kind.GAUGE,
    "Whether the driver of a virtio device has told the device that it drives it.",
    ("device",),
    "/sys/bus/virtio/devices/*/status",
)
FEATURE = Metric(
    "kvm_guest_virtio_feature",
    Kind.GAUGE,
    "A feature that this guest's driver and the device have agreed on: always 1; those that are "
    "off have no series.",
    ("device", "feature"),
    "/sys/bus/virtio/devices/*/features",
)


class GuestDevicesCollector(Collector[tuple[GuestVirtio, ...]]):
    """The virtio devices of this system as a guest."""

    name = "guest_devices"
    summary = "inside a guest: its virtio devices, their drivers, features and interrupts"
    needs = (GUEST_ROLE,)
    metrics = (INFO, READY, FEATURE)

    def sample(self, cycle: Cycle) -> tuple[GuestVirtio, ...]:  # noqa: ARG002 - nothing is shared
        """Read what the kernel shows of each.

        Raises:
            Unavailable: this is not a guest.
        """
        if not self.sources.system.role.guest:
            raise Unavailable(
                f"this is no KVM guest ({self.sources.system.role.because})",
                "say --role guest or --role both if it is",
            )
        return guest_virtio(self.sources.system.sysfs.root)

    def families(self, sample: tuple[GuestVirtio, ...]) -> Iterable[Family]:
        """Two series a device, and one a feature."""
        info, ready, feature = (Family(metric) for metric in self.metrics)
        for one in sample:
            info.add(1, one.name, one.kind, one.driver, one.transport, one.address, one.interrupts)
            ready.add(int(one.ready), one.name)
            for name in one.features:
                feature.add(1, one.name, name)
        return info, ready, feature

    def findings(self, sample: tuple[GuestVirtio, ...]) -> Iterable[Finding]:
        """What should not be so."""
        return guest_findings.devices(sample)
