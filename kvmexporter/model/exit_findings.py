# SPDX-License-Identifier: Apache-2.0
"""Devices that keep a VM's vCPUs busy with exits to the VMM."""

from collections.abc import Iterable, Mapping

from kvmexporter.model.findings import Finding, Place, Remedy, Rule, Severity, qemu_and_libvirt
from kvmexporter.model.io import IoTarget

# An exit to the VMM and back costs 5 to 20 µs: a tenth of a processor, and half of one.
STORM_PER_SECOND = 10_000.0
CRITICAL_PER_SECOND = 50_000.0

_PARAVIRTUAL = qemu_and_libvirt(
    "a virtio device in place of the emulated one, and ioeventfd=on where it is virtio",
    "bus='virtio' for disks, <model type='virtio'/> for NICs, <driver ioeventfd='on'/>",
)
EXIT_STORM = Rule(
    "exit-storm",
    "One device causes a storm of exits",
    (Severity.CRITICAL, Severity.WARNING),
    "each of them stops a vCPU until the VMM has answered, and keeps the guest from its work",
    (
        *_PARAVIRTUAL,
        Remedy(
            Place.GUEST,
            "see what uses the device: a clocksource that is hpet or acpi_pm, a busy serial "
            "console, a driver that polls",
        ),
    ),
)

RULES = (EXIT_STORM,)


def storms(vm: str, per_second: Mapping[IoTarget, float]) -> Iterable[Finding]:
    """Devices whose accesses reach the VMM too often.

    Args:
        vm: the VM's name.
        per_second: device → exits to the VMM.
    """
    for target, rate in per_second.items():
        if rate >= STORM_PER_SECOND:
            critical = rate >= CRITICAL_PER_SECOND
            yield EXIT_STORM.finding(
                target.device,
                f"{rate:,.0f} exits to the VMM a second ({target.driver}, {target.path})",
                vm=vm,
                severity=Severity.CRITICAL if critical else Severity.WARNING,
            )
