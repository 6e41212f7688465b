# SPDX-License-Identifier: Apache-2.0
"""What a QEMU gives its guest to tell the time with: processor features, and the RTC.

Commands: `query-cpus-fast`, `qom-get` of properties of vCPU 0 (all vCPUs are alike), `qom-get` of
`rtc-time`: eleven short ones.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kvmexporter.model.vm_clocks import CPU_FEATURES, HYPERV_FEATURES, Rtc, rtc
from kvmexporter.sources.qmp import Monitor, Refused, all_of, as_list, as_mapping, as_text


@dataclass(frozen=True, slots=True)
class Vcpu:
    """One vCPU.

    Attributes:
        index: its number.
        path: its QOM path.
        thread: the thread that runs it, as its QEMU numbers threads.
    """

    index: int
    path: str
    thread: int


async def vcpus(monitor: Monitor) -> tuple[Vcpu, ...]:
    """The vCPUs, in the VMM's order; none of one that does not know the command."""
    try:
        cpus = as_list(await monitor.execute("query-cpus-fast"))
    except Refused:
        return ()
    return tuple(
        Vcpu(int(cpu["cpu-index"]), as_text(cpu["qom-path"]), int(cpu.get("thread-id", 0)))
        for cpu in map(as_mapping, cpus)
    )


async def cpu_features(monitor: Monitor, cpus: Sequence[Vcpu]) -> dict[str, bool]:
    """Feature → whether vCPU 0 has it, by QEMU's names; those that it does not know left out.

    Hyper-V's are left out where the guest does not have them, too: most guests are no Windows.

    Args:
        monitor: of the QEMU.
        cpus: of `vcpus`.
    """
    if not cpus:
        return {}
    path = min(cpus, key=lambda cpu: cpu.index).path

    async def feature(name: str) -> object:
        try:
            return await monitor.execute("qom-get", {"path": path, "property": name})
        except Refused:  # another architecture, or another QEMU
            return None

    names = CPU_FEATURES + HYPERV_FEATURES
    return {
        name: value
        for name, value in zip(names, await all_of(map(feature, names)), strict=True)
        if isinstance(value, bool) and (value or name not in HYPERV_FEATURES)
    }


async def real_time_clock(
    monitor: Monitor, realtime_ns: Callable[[], int] = time.time_ns
) -> Rtc | None:
    """The VM's RTC compared with the host's clock; None for a machine without one.

    Args:
        monitor: of the QEMU.
        realtime_ns: CLOCK_REALTIME.
    """
    before_ns = realtime_ns()
    try:
        told = await monitor.execute("qom-get", {"path": "/machine", "property": "rtc-time"})
    except Refused:
        return None
    return rtc(as_mapping(told), before_ns, realtime_ns())
