# SPDX-License-Identifier: Apache-2.0
"""What a QEMU says of a VM's balloon.

Commands: `query-balloon`, `query-memory-size-summary`, `qom-get` of the device's properties,
`query-pci`, and `human-monitor-command` "xp /2wx" at the device's own configuration, which is the
only place that has the target. That is read only where the guest has mapped it, only while its
PCI function stays where the address map showed it, and believed only if what it says of the
balloon's size is what `query-balloon` says: whatever the guest puts there instead is not it.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace

from kvmexporter.model import balloon as model
from kvmexporter.model.balloon import Balloon, BalloonDevice
from kvmexporter.model.devices import Virtio, pci_devices
from kvmexporter.sources.qmp import Monitor, Refused, as_list, as_mapping, as_text

_POLLING = "guest-stats-polling-interval"
_MAX_POLLING_SECONDS = 1 << 31


async def balloon(
    monitor: Monitor,
    device: BalloonDevice | None,
    virtio: Sequence[Virtio],
    set_polling_seconds: int = 0,
) -> Balloon | None:
    """Ask for everything that is to be known of the balloon.

    Args:
        monitor: of the QEMU.
        device: where it is; None: there is none.
        virtio: the virtio devices, of QEMUs that tell them.
        set_polling_seconds: have the guest asked for its statistics this often if nobody asks;
            0: leave that alone.

    Returns:
        None if the VM has none.
    """
    if device is None:
        return None
    offered = {}
    for feature in model.FEATURES:
        try:
            value = await _property(monitor, device, feature)
        except Refused:  # this QEMU does not know it
            continue
        offered[feature] = value is True
    driven = next((bool(one.features) for one in virtio if one.path == device.path), None)
    if driven is False and not any(one.features for one in virtio):
        driven = None  # a QEMU that tells nobody's
    summary = as_mapping(await monitor.execute("query-memory-size-summary"))
    found = Balloon(device, 0, model.max_bytes(summary), offered=offered, driven=driven)
    if set_polling_seconds and not await _polling(monitor, device):
        arguments = {"path": device.path, "property": _POLLING, "value": set_polling_seconds}
        with suppress(Refused):  # the guest has no statistics to give
            await monitor.execute("qom-set", arguments)
    return await moving(monitor, found)


async def moving(monitor: Monitor, known: Balloon) -> Balloon | None:
    """Ask again for what moves: size, target, statistics.

    Returns:
        None if the balloon is gone.
    """
    device = known.device
    try:
        before = await _actual(monitor)
        numbers, given_at = model.stats(as_mapping(await _property(monitor, device, "guest-stats")))
        polling = await _polling(monitor, device)
    except Refused:  # unplugged
        return None
    target, actual = None, before
    if device.config_address is not None and await _is_in_place(monitor, device):
        words = await _config(monitor, device.config_address, known.max_bytes)
        actual = await _actual(monitor)
        low, high = sorted((before, actual))
        if words and low <= words[1] <= high and await _is_in_place(monitor, device):
            target, actual = words
    return replace(
        known,
        actual_bytes=actual,
        target_bytes=target,
        stats=numbers,
        stats_at=given_at,
        polling_seconds=polling,
    )


async def _property(monitor: Monitor, device: BalloonDevice, name: str) -> object:
    return await monitor.execute("qom-get", {"path": device.path, "property": name})


async def _polling(monitor: Monitor, device: BalloonDevice) -> int:
    reply = await _property(monitor, device, _POLLING)
    return min(max(int(str(reply)), 0), _MAX_POLLING_SECONDS)


async def _actual(monitor: Monitor) -> int:
    return max(int(as_mapping(await monitor.execute("query-balloon"))["actual"]), 0)


async def _is_in_place(monitor: Monitor, device: BalloonDevice) -> bool:
    """Whether the function with its configuration still is where it was."""
    if device.function is None or device.config_address is None:
        return True
    pci = pci_devices(as_list(await monitor.execute("query-pci")))
    return model.function_at(device.config_address, pci) == device.function


async def _config(monitor: Monitor, address: int, whole: int) -> tuple[int, int] | None:
    text = await monitor.execute("human-monitor-command", {"command-line": f"xp /2wx {address:#x}"})
    return model.config_bytes(as_text(text), address, whole)
