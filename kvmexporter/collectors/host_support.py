# SPDX-License-Identifier: Apache-2.0
"""What the host has for VMs: the processor's virtualisation, KVM's use of it, virtio and vhost.

Reads /proc/cpuinfo, /sys/module, /dev and, for what is built in, the kernel's configuration in
/boot or /proc/config.gz; a few small files a sample.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kvmexporter.collector import Collector, Cycle, Sources
from kvmexporter.errors import Unavailable
from kvmexporter.model.findings import Finding
from kvmexporter.model.metrics import Family, Kind, Metric
from kvmexporter.model.processor_findings import host
from kvmexporter.needs import HOST_ROLE
from kvmexporter.sources.kernel_config import KernelConfig

VIRTUALIZATION = Metric(
    "kvm_host_virtualization_feature",
    Kind.GAUGE,
    "Whether the host can do what VMs need: vmx or svm by its processor; nested_paging (EPT, "
    "NPT) and nested VMs by KVM's own word.",
    ("feature",),
    "/proc/cpuinfo, /sys/module",
)
MODULE = Metric(
    "kvm_host_driver_info",
    Kind.INFO,
    "Drivers that serve VMs or that a host which is a VM itself needs, and how the kernel has "
    "them: module (loaded), builtin, available (not loaded), absent, or unknown.",
    ("driver", "state"),
    "/sys/module, the kernel's configuration",
)

# Module → the option that builds it.
_DRIVERS = {
    "kvm": "CONFIG_KVM",
    "kvm_intel": "CONFIG_KVM_INTEL",
    "kvm_amd": "CONFIG_KVM_AMD",
    "tun": "CONFIG_TUN",
    "vhost": "CONFIG_VHOST",
    "vhost_net": "CONFIG_VHOST_NET",
    "vhost_vsock": "CONFIG_VHOST_VSOCK",
    "vfio_pci": "CONFIG_VFIO_PCI",
    "virtio": "CONFIG_VIRTIO",
    "virtio_pci": "CONFIG_VIRTIO_PCI",
    "virtio_net": "CONFIG_VIRTIO_NET",
    "virtio_blk": "CONFIG_VIRTIO_BLK",
    "virtio_balloon": "CONFIG_VIRTIO_BALLOON",
}
_VENDORS = {"kvm_intel": "ept", "kvm_amd": "npt"}


@dataclass(frozen=True, slots=True)
class HostSupportSample:
    """What the host has.

    Attributes:
        hardware: vmx and svm → whether; empty on another architecture.
        nested_paging: whether KVM uses EPT or NPT; None if it does not say.
        nested: whether guests may run VMs; None if KVM does not say.
        kvm: whether KVM can be used.
        vhost_net: whether vhost-net can be used.
        drivers: driver → its state.
    """

    hardware: Mapping[str, bool]
    nested_paging: bool | None
    nested: bool | None
    kvm: bool
    vhost_net: bool
    drivers: Mapping[str, str]


class HostSupportCollector(Collector[HostSupportSample]):
    """What the host has for VMs."""

    name = "host_support"
    summary = "what the host's processor and kernel have for VMs"
    metrics = (VIRTUALIZATION, MODULE)
    needs = (HOST_ROLE,)

    def __init__(self, sources: Sources) -> None:
        super().__init__(sources)
        self._config = KernelConfig(sources.system.boot, sources.procfs.root)

    def sample(self, cycle: Cycle) -> HostSupportSample:  # noqa: ARG002 - nothing is shared
        """Look.

        Raises:
            Unavailable: this is not a host.
        """
        system = self.sources.system
        if not system.role.host:
            raise Unavailable(
                f"this is no KVM host ({system.role.because})",
                "say --role host or --role both if it is",
            )
        flags = self.sources.procfs.cpu_flags()
        paging: bool | None = None
        nested: bool | None = None
        for module, parameter in _VENDORS.items():
            values = system.sysfs.module_parameters(module, (parameter, "nested"))
            if parameter in values:
                paging = bool(values[parameter])
            if "nested" in values:
                nested = bool(values["nested"])
        return HostSupportSample(
            {name: name in flags for name in ("vmx", "svm")} if "lm" in flags else {},
            paging,
            nested,
            (system.devices / "kvm").exists(),
            (system.devices / "vhost-net").exists(),
            {driver: self._state(driver, option) for driver, option in _DRIVERS.items()},
        )

    def families(self, sample: HostSupportSample) -> Iterable[Family]:
        """A series for each feature and driver."""
        feature, driver = Family(VIRTUALIZATION), Family(MODULE)
        features: dict[str, bool | None] = dict(sample.hardware)
        features |= {"nested_paging": sample.nested_paging, "nested": sample.nested}
        for name, has in features.items():
            if has is not None:
                feature.add(int(has), name)
        for name, state in sample.drivers.items():
            driver.add(1, name, state)
        return feature, driver

    def findings(self, sample: HostSupportSample) -> Iterable[Finding]:
        """What a host should have."""
        return host(sample.hardware, sample.kvm, sample.nested_paging, sample.vhost_net)

    def _state(self, driver: str, option: str) -> str:
        if state := self.sources.system.sysfs.module_state(driver):
            return state
        known = self._config.value(option)
        if known is None:
            return "unknown"
        return {"y": "builtin", "m": "available"}.get(known, "absent")
