# SPDX-License-Identifier: Apache-2.0
"""What a QEMU gives its guest to tell the time with: processor features, and the RTC.

Commands: `query-cpus-fast`, `qom-get` of properties of vCPU 0 (all vCPUs are alike), `qom-get` of
`rtc-time`: eleven short ones.
"""

import time
from collections.abc import Callable

from kvmexporter.model.vm_clocks import CPU_FEATURES, HYPERV_FEATURES, Rtc, rtc
from kvmexporter.sources.qmp import Monitor, Refused, as_list, as_mapping, as_text


async def cpu_features(monitor: Monitor) -> dict[str, bool]:
    """Feature → whether vCPU 0 has it, by QEMU's names; those that it does not know left out.

    Hyper-V's are left out where the guest does not have them, too: most guests are no Windows.
    """
    try:
        cpus = as_list(await monitor.execute("query-cpus-fast"))
    except Refused:
        return {}
    if not cpus:
        return {}
    first = min((as_mapping(cpu) for cpu in cpus), key=lambda cpu: int(cpu["cpu-index"]))
    path = as_text(first["qom-path"])
    features = {}
    for name in CPU_FEATURES + HYPERV_FEATURES:
        try:
            value = await monitor.execute("qom-get", {"path": path, "property": name})
        except Refused:  # another architecture, or another QEMU
            continue
        if isinstance(value, bool) and (value or name not in HYPERV_FEATURES):
            features[name] = value
    return features


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
