# SPDX-License-Identifier: Apache-2.0
"""The balloon of a VM that nobody may ask but libvirt: what the domain's status says of it.

libvirt hears from QEMU what the guest has (BALLOON_CHANGE, at most once a second) and keeps it as
`currentMemory`. It does not keep what it asked of the guest, so there is no target, and nothing of
what the guest says of its memory is in the status either. Source: src/qemu/qemu_process.c
(qemuProcessHandleBalloonChange) and src/qemu/qemu_command.c (qemuBuildMemballoonDevProps), 9.0.
"""

from kvmexporter.model.balloon import Balloon, BalloonDevice
from kvmexporter.model.libvirt_domain import LibvirtDomain

# Feature → libvirt's attribute; what that does not say stays as QEMU has it, which is off.
_OFFERED = {
    "deflate-on-oom": "autodeflate",
    "free-page-hint": "",
    "free-page-reporting": "freePageReporting",
}


def libvirt_balloon(domain: LibvirtDomain) -> Balloon | None:
    """A domain's balloon; None if it has none, or its memory is not told."""
    device = domain.balloon
    actual, whole = domain.current_memory_bytes, domain.memory_max_bytes
    if device is None or actual is None or whole is None:
        return None
    return Balloon(
        BalloonDevice(device.alias, None),
        actual,
        whole,
        offered={
            feature: device.options.get(attribute) == "on"
            for feature, attribute in _OFFERED.items()
        },
        polling_seconds=device.stats_period or 0,
        asked=False,
    )
