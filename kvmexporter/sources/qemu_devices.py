# SPDX-License-Identifier: Apache-2.0
"""What a QEMU says of its devices and of where they are.

Commands: `human-monitor-command` "info mtree -f -o", `query-pci`, `qom-list`, `qom-get`,
`x-query-virtio*` (QEMU 7.2 and newer), `query-qmp-schema`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from kvmexporter.model.balloon import BalloonDevice, locate
from kvmexporter.model.devices import (
    PciDevice,
    Virtio,
    Window,
    child_types,
    pci_devices,
    queue_size,
    virtio_device,
    windows,
)
from kvmexporter.model.mtree import Region, parse
from kvmexporter.sources.qmp import Monitor, QmpError, Refused, as_list, as_mapping, as_text

_MAX_VIRTIO_DEVICES = 64
_MAX_PATH_LENGTH = 512
_MAX_QUEUE_SIZES = 16
_MAX_UNTYPED_OWNERS = 64
_MAX_BUILDS = 64
_ROOT_BUSES = ("/pci.0", "/pcie.0")
_QOM_ROOTS = ("/machine", "/machine/unattached", "/machine/peripheral", "/machine/peripheral-anon")


class Unsettled(QmpError):  # noqa: N818 - a state, not a mistake
    """The guest is moving its devices at this moment; ask again soon."""


async def devices(
    monitor: Monitor, build: str, status_is_safe: dict[str, bool]
) -> tuple[tuple[Window, ...], tuple[Virtio, ...], BalloonDevice | None]:
    """Ask what each address range stands for, for the virtio devices, and where the balloon is.

    Args:
        monitor: of the QEMU.
        build: its version and package.
        status_is_safe: build → whether `x-query-virtio-status` may be asked; added to.

    Raises:
        Unsettled: the guest moved a device meanwhile.
    """
    # Twice, with the address map in between: a guest that moves a device meanwhile
    # would be told half of the one and half of the other.
    before = pci_devices(as_list(await monitor.execute("query-pci")))
    regions = parse(as_text(await _human(monitor, "info mtree -f -o")))
    types = await _types(monitor, regions)
    functions = await _functions(monitor, regions, types, before)
    virtio = await _virtio(monitor, build, status_is_safe)
    after = pci_devices(as_list(await monitor.execute("query-pci")))
    if before != after:
        raise Unsettled("the guest moves its PCI devices right now")
    balloon = locate(regions, types, virtio, after)
    return windows(regions, after, types, virtio, functions), virtio, balloon


async def _human(monitor: Monitor, command: str) -> object:
    return await monitor.execute("human-monitor-command", {"command-line": command})


async def _types(monitor: Monitor, regions: Sequence[Region]) -> dict[str, str]:
    """QOM path → type of everything that owns a region."""
    types: dict[str, str] = {}
    for root in _QOM_ROOTS:
        types |= child_types(root, as_list(await monitor.execute("qom-list", {"path": root})))
    untyped = {region.owner for region in regions if region.owner and region.owner not in types}
    for path in sorted(untyped)[:_MAX_UNTYPED_OWNERS]:
        try:
            kind = await monitor.execute("qom-get", {"path": path, "property": "type"})
        except Refused:  # unplugged meanwhile
            continue
        types[path] = as_text(kind)
    return types


async def _functions(
    monitor: Monitor, regions: Sequence[Region], types: Mapping[str, str], pci: Sequence[PciDevice]
) -> dict[str, str]:
    """QOM path → PCI address of what has no id, on bus 0, where no BAR says it yet."""
    if all(one.qdev_id or one.bars or not one.has_bars for one in pci):
        return {}
    found = {}
    owners = {one.owner for one in regions if one.owner in types and not _has_id(one.owner)}
    for path in sorted(owners)[:_MAX_UNTYPED_OWNERS]:
        try:
            devfn = await monitor.execute("qom-get", {"path": path, "property": "addr"})
            bus = await monitor.execute("qom-get", {"path": path, "property": "parent_bus"})
        except Refused:  # not on a PCI bus
            continue
        if isinstance(devfn, int) and devfn >= 0 and as_text(bus).endswith(_ROOT_BUSES):
            found[path] = f"00:{devfn >> 3:02x}.{devfn & 7}"
    return found


def _has_id(path: str) -> bool:
    return path.startswith("/machine/peripheral/")


async def _virtio(
    monitor: Monitor, build: str, status_is_safe: dict[str, bool]
) -> tuple[Virtio, ...]:
    try:
        devices = as_list(await monitor.execute("x-query-virtio"))
    except Refused:  # before QEMU 7.2
        return ()
    if devices and build not in status_is_safe:
        if len(status_is_safe) >= _MAX_BUILDS:
            status_is_safe.clear()
        status_is_safe[build] = _is_status_safe(as_list(await monitor.execute("query-qmp-schema")))
    found = []
    for device in devices[:_MAX_VIRTIO_DEVICES]:
        path = as_text(device["path"])
        if len(path) > _MAX_PATH_LENGTH:
            continue
        sizes = await _queue_sizes(monitor, path)
        try:
            if status_is_safe[build]:
                status = as_mapping(await monitor.execute("x-query-virtio-status", {"path": path}))
            else:
                status = {
                    "name": device["name"],
                    "num-vqs": len(sizes),
                    "vhost-started": await _has_vhost(monitor, path),
                }
        except Refused:  # unplugged meanwhile
            continue
        one = virtio_device(path, status, sizes)
        if not status_is_safe[build] and len(sizes) == _MAX_QUEUE_SIZES:
            one = replace(one, more_queues=True)
        found.append(replace(one, transport=await _transport(monitor, path)))
    return tuple(found)


async def _transport(monitor: Monitor, path: str) -> str:
    """The virtio-mmio transport that a device without a proxy is plugged into, "" if none."""
    if path.endswith("/virtio-backend"):
        return ""
    try:
        bus = await monitor.execute("qom-get", {"path": path, "property": "parent_bus"})
    except Refused:
        return ""
    return as_text(bus).rpartition("/")[0]


def _is_status_safe(schema: Sequence[Any]) -> bool:
    """Whether `x-query-virtio-status` can be asked without ending the VM.

    QEMU 11.1 aborts on it: the reply must have `backend-features`, and nothing fills them in
    any more since its vhost part lost them. Its own schema shows that.
    """
    by_name = {entry["name"]: entry for entry in map(as_mapping, schema)}

    def members(type_name: str) -> dict[str, str]:
        return {one["name"]: one["type"] for one in by_name[type_name].get("members", ())}

    try:
        status = members(by_name["x-query-virtio-status"]["ret-type"])
        vhost = members(status["vhost-dev"])
    except KeyError:
        return False
    return "backend-features" in vhost or "backend-features" not in status


async def _has_vhost(monitor: Monitor, path: str) -> bool:
    """Whether vhost serves a device's queues now."""
    try:
        await monitor.execute("x-query-virtio-vhost-queue-status", {"path": path, "queue": 0})
    except Refused:
        return False
    return True


async def _queue_sizes(monitor: Monitor, path: str) -> dict[int, int]:
    """Queue → entries in use, of the first queues, up to the first that there is not."""
    sizes: dict[int, int] = {}
    for queue in range(_MAX_QUEUE_SIZES):
        try:
            status = await monitor.execute(
                "x-query-virtio-queue-status", {"path": path, "queue": queue}
            )
        except Refused:
            break
        sizes[queue] = queue_size(as_mapping(status))
    return sizes
