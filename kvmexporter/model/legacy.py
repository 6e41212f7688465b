# SPDX-License-Identifier: Apache-2.0
"""The windows of the well-known addresses, for VMs that nobody can ask."""

from kvmexporter.model.devices import Window
from kvmexporter.model.io import IoTarget
from kvmexporter.tables.ioports import LEGACY_REGIONS

# Well-known devices that share a slot, for there are more of them than slots.
_TOGETHER = {
    name: together
    for together, names in {
        IoTarget("acpi-pm", "PIIX4_PM", "platform"): (
            *("acpi-cpu-hotplug", "acpi-mem-hotplug", "acpi-pci-hotplug"),
            *("acpi-gpe0", "apm", "pm-smbus"),
        ),
        IoTarget("ide", "piix3-ide", "emulated"): ("ide0", "ide1"),
        IoTarget("parallel", "isa-parallel", "emulated"): ("parallel0", "parallel1", "parallel2"),
        IoTarget("ioport80", "ioport80", "platform"): ("ioportF0",),
    }.items()
    for name in names
}


def legacy_windows() -> tuple[Window, ...]:
    """What PCs have had for decades, for VMs that nobody can ask."""
    return tuple(
        Window(
            "port" if region.space == "pio" else "memory",
            region.first,
            region.last,
            _TOGETHER.get(region.device, IoTarget(region.device, region.driver, region.path)),
        )
        for region in LEGACY_REGIONS
    )
