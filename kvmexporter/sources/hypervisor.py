# SPDX-License-Identifier: Apache-2.0
"""Signs of KVM above and below: is this a host, a guest, or both.

Reads /dev/kvm's presence, CPUID, /proc/cpuinfo's flags, sysfs; once, at the start.
"""

from pathlib import Path

from kvmexporter.errors import Unavailable
from kvmexporter.model.role import Evidence
from kvmexporter.sources.cpuid import Cpuid, hypervisor, kvm_feature_bits
from kvmexporter.sources.procfs import Procfs
from kvmexporter.sources.sysfs import Sysfs


def look(
    procfs: Procfs, sysfs: Sysfs, cpuid: Cpuid | None, vms: int, devices: Path = Path("/dev")
) -> Evidence:
    """Gather what speaks for either role.

    Args:
        procfs: for the processor's flags.
        sysfs: for clocks and firmware.
        cpuid: the instruction, None if it is not to be had.
        vms: how many run here.
        devices: where device nodes are.
    """
    try:
        clocksources = sysfs.clocksources().available
    except Unavailable:
        clocksources = ()
    return Evidence(
        kvm_device=(devices / "kvm").exists(),
        vms=vms,
        hypervisor_flag="hypervisor" in procfs.cpu_flags(),
        signature=hypervisor(cpuid)[0] if cpuid else "",
        kvm_features=kvm_feature_bits(cpuid) if cpuid else None,
        clocksources=clocksources,
        ptp_clocks=tuple(device.clock_name for device in sysfs.ptp_devices()),
        machine=f"{sysfs.dmi('sys_vendor')} {sysfs.dmi('product_name')}".strip()[:128],
    )
