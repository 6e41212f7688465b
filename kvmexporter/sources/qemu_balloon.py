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
from kvmexporter.sources.qmp import Monitor, Refused, Together, all_of, as_list, as_mapping, as_text

_POLLING = "guest-stats-polling-interval"
_MAX_POLLING_SECONDS = 1 << 31


async def balloon(
    monitor: Monitor,
    device: BalloonDevice | None,
    virtio: Sequence[Virtio],
    set_polling_seconds: int = 0,
    known: Balloon | None = None,
) -> Balloon | None:
    """Ask for everything that is to be known of the balloon.

    Args:
        monitor: of the QEMU.
        device: where it is; None: there is none.
        virtio: the virtio devices, of QEMUs that tell them.
        set_polling_seconds: have the guest asked for its statistics this often if nobody asks;
            0: leave that alone.
        known: the same device as it was found before; what it offers is its for good.

    Returns:
        None if the VM has none.
    """
    if device is None:
        return None
    offered = known.offered if known else await _offered(monitor, device)
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


async def _offered(monitor: Monitor, device: BalloonDevice) -> dict[str, bool]:
    async def feature(name: str) -> bool | None:
        try:
            return await _property(monitor, device, name) is True
        except Refused:  # this QEMU does not know it
            return None

    values = await all_of(map(feature, model.FEATURES))
    return {
        name: value for name, value in zip(model.FEATURES, values, strict=True) if value is not None
    }


async def moving(monitor: Monitor, known: Balloon) -> Balloon | None:
    """Ask again for what moves: size, target, statistics.

    Returns:
        None if the balloon is gone.
    """
    device = known.device
    try:
        async with Together() as asked:
            size = asked.by(_actual(monitor))
            given = asked.by(_stats(monitor, device))
            interval = asked.by(_polling(monitor, device))
            mapped = asked.by(_is_in_place(monitor, device))
    except Refused:  # unplugged
        return None
    numbers, given_at = given.result()
    target, actual = None, size.result()
    if device.config_address is not None and mapped.result():
        async with Together() as asked:
            config = asked.by(_config(monitor, device.config_address, known.max_bytes))
            size_then = asked.by(_actual(monitor))
            stayed = asked.by(_is_in_place(monitor, device))
        low, high = sorted((actual, size_then.result()))
        words, actual = config.result(), size_then.result()
        if words and low <= words[1] <= high and stayed.result():
            target, actual = words
    return replace(
        known,
        actual_bytes=actual,
        target_bytes=target,
        stats=numbers,
        stats_at=given_at,
        polling_seconds=interval.result(),
    )


async def _property(monitor: Monitor, device: BalloonDevice, name: str) -> object:
    return await monitor.execute("qom-get", {"path": device.path, "property": name})


async def _stats(monitor: Monitor, device: BalloonDevice) -> tuple[dict[str, int], int]:
    return model.stats(as_mapping(await _property(monitor, device, "guest-stats")))


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
