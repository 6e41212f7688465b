# SPDX-License-Identifier: Apache-2.0
"""KVM's own counters of a VM, as its QEMU tells them: `query-stats` (QEMU 7.1 and newer)."""

from kvmexporter.model.vm import bounded_name
from kvmexporter.sources.qmp import Monitor, Refused, all_of, as_list, as_text

MAX_STATS = 256
_MAX_STAT = (1 << 64) - 1


async def stats(monitor: Monitor) -> tuple[dict[str, int], dict[str, int]]:
    """Ask for the counters of the VM, and for those of its vCPUs, added up; empty if none."""
    vm, vcpu = await all_of(_of(monitor, target) for target in ("vm", "vcpu"))
    return vm, vcpu


async def _of(monitor: Monitor, target: str) -> dict[str, int]:
    one: dict[str, int] = {}
    try:
        reply = as_list(await monitor.execute("query-stats", {"target": target}))
    except Refused:  # before QEMU 7.1, or without KVM
        return one
    for provider in reply:
        if provider.get("provider") != "kvm":
            continue
        for stat in as_list(provider["stats"]):
            value = stat.get("value")
            if isinstance(value, int) and not isinstance(value, bool):
                name = bounded_name(as_text(stat["name"]))
                if name in one or len(one) < MAX_STATS:
                    one[name] = min(max(one.get(name, 0) + value, 0), _MAX_STAT)
    return one
