# SPDX-License-Identifier: Apache-2.0
"""What a QEMU says of its devices and of where they are.

Commands: `query-pci`, `qom-list` and `qom-get`, once for a machine that stays as it is;
`x-query-virtio-status` (QEMU 7.2 and newer) of each device at each visit, since drivers bind and
unbind, and `x-query-virtio-queue-status` of each queue where that has changed, where no driver
has started the device, and of NICs; this and `x-query-virtio-vhost-queue-status` at each visit to a
QEMU that may not be asked for a status; `query-qmp-schema` once for a build.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from kvmexporter.model.balloon import BalloonDevice, locate
from kvmexporter.model.devices import (
    PciDevice,
    Virtio,
    Window,
    queue_size,
    virtio_device,
    windows,
)
from kvmexporter.model.mtree import Region, parse
from kvmexporter.sources.qemu_machine import Machine, children, functions
from kvmexporter.sources.qmp import Monitor, QmpError, Refused, all_of, as_list, as_mapping, as_text

_MAX_QUEUE_SIZES = 16
_PROBED_AT_ONCE = 4
_MAX_UNTYPED_OWNERS = 64
_MAX_BUILDS = 64
_ROOT_BUSES = ("/pci.0", "/pcie.0")
_QOM_ROOTS = ("/machine", "/machine/unattached")  # and what can be plugged
_INTERRUPTS = "isr"  # of a status; they come and go


@dataclass(frozen=True, slots=True)
class VirtioState:
    """A virtio device, and what tells whether that still holds.

    Attributes:
        device: the device.
        status: stands for all of its status; None while no driver has started it, or if its
            QEMU does not tell.
    """

    device: Virtio
    status: int | None


class Unsettled(QmpError):  # noqa: N818 - a state, not a mistake
    """The guest is moving its devices at this moment; ask again soon."""


async def devices(
    monitor: Monitor, machine: Machine, virtio: Sequence[Virtio]
) -> tuple[tuple[Window, ...], BalloonDevice | None]:
    """Ask what each address range stands for, and where the balloon is.

    Args:
        monitor: of the QEMU.
        machine: what it said of its machine.
        virtio: its virtio devices.

    Raises:
        Unsettled: the guest has moved a device since.
    """
    regions = parse(machine.mtree)
    types = await _types(monitor, regions, machine.plugged)
    found = await _functions(monitor, regions, types, machine.pci)
    # Once more, after the address map: a guest that moves a device meanwhile
    # would be told half of the one and half of the other.
    pci = await functions(monitor)
    if pci != machine.pci:
        raise Unsettled("the guest moves its PCI devices right now")
    return windows(regions, pci, types, virtio, found), locate(regions, types, virtio, pci)


async def _types(
    monitor: Monitor, regions: Sequence[Region], plugged: Mapping[str, str]
) -> dict[str, str]:
    """QOM path → type of everything that owns a region."""
    fixed = await all_of(children(monitor, root) for root in _QOM_ROOTS)
    types = {path: kind for one in (*fixed, plugged) for path, kind in one.items()}
    untyped = {region.owner for region in regions if region.owner and region.owner not in types}
    asked = sorted(untyped)[:_MAX_UNTYPED_OWNERS]
    kinds = await all_of(_property(monitor, path, "type") for path in asked)
    return types | {
        path: as_text(kind) for path, kind in zip(asked, kinds, strict=True) if kind is not None
    }


async def _property(monitor: Monitor, path: str, name: str) -> object:
    """None of what does not have it, or has been unplugged meanwhile."""
    try:
        return await monitor.execute("qom-get", {"path": path, "property": name})
    except Refused:
        return None


async def _functions(
    monitor: Monitor, regions: Sequence[Region], types: Mapping[str, str], pci: Sequence[PciDevice]
) -> dict[str, str]:
    """QOM path → PCI address of what has no id, on bus 0, where no BAR says it yet."""
    if all(one.qdev_id or one.bars or not one.has_bars for one in pci):
        return {}
    owners = {one.owner for one in regions if one.owner in types and not _has_id(one.owner)}
    paths = sorted(owners)[:_MAX_UNTYPED_OWNERS]
    slots = await all_of(_property(monitor, path, "addr") for path in paths)
    buses = await all_of(_property(monitor, path, "parent_bus") for path in paths)
    return {
        path: f"00:{devfn >> 3:02x}.{devfn & 7}"
        for path, devfn, bus in zip(paths, slots, buses, strict=True)
        if isinstance(devfn, int)
        and devfn >= 0
        and bus is not None
        and as_text(bus).endswith(_ROOT_BUSES)
    }


def _has_id(path: str) -> bool:
    return path.startswith("/machine/peripheral/")


async def virtio_devices(
    monitor: Monitor,
    machine: Machine,
    status_is_safe: dict[str, bool],
    known: Mapping[str, VirtioState],
) -> dict[str, VirtioState]:
    """Ask for the state of the virtio devices.

    Args:
        monitor: of the QEMU.
        machine: what it said of its machine.
        status_is_safe: build → whether `x-query-virtio-status` may be asked; added to.
        known: as this returned it, of the same machine; empty if nothing is known.

    Returns:
        QOM path of the backend → state.
    """
    if not machine.virtio:  # none, or before QEMU 7.2
        return {}
    if machine.build not in status_is_safe:
        if len(status_is_safe) >= _MAX_BUILDS:
            status_is_safe.clear()
        schema = as_list(await monitor.execute("query-qmp-schema"))
        status_is_safe[machine.build] = _is_status_safe(schema)
    ask = _told if status_is_safe[machine.build] else _probed
    states = await all_of(
        ask(monitor, path, name, known.get(path)) for path, name in machine.virtio.items()
    )
    return {
        path: state for path, state in zip(machine.virtio, states, strict=True) if state is not None
    }


async def _told(
    monitor: Monitor, path: str, _name: str, known: VirtioState | None
) -> VirtioState | None:
    """A device of a QEMU that tells its status; None if it has been unplugged meanwhile."""
    try:
        status = as_mapping(await monitor.execute("x-query-virtio-status", {"path": path}))
    except Refused:
        return None
    kept = {key: value for key, value in status.items() if key != _INTERRUPTS}
    read = hash(repr(kept)) if status.get("started") is True else None
    # Linux gives a NIC's queues another size while it is in use (`ethtool -G`).
    if known and read is not None and read == known.status and known.device.name != "virtio-net":
        return known
    queues = min(int(status.get("num-vqs", 0)), _MAX_QUEUE_SIZES)
    device = virtio_device(path, status, await _queue_sizes(monitor, path, queues))
    return VirtioState(await _plugged(monitor, path, device, known), read)


async def _probed(
    monitor: Monitor, path: str, name: str, known: VirtioState | None
) -> VirtioState | None:
    """A device of a QEMU that may not be asked for its status."""
    sizes = await _probed_queue_sizes(monitor, path, known)
    vhost = await _has_vhost(monitor, path)
    status = {"name": name, "num-vqs": len(sizes), "vhost-started": vhost}
    device = virtio_device(path, status, sizes)
    if len(sizes) == _MAX_QUEUE_SIZES:
        device = replace(device, more_queues=True)
    return VirtioState(await _plugged(monitor, path, device, known), None)


async def _plugged(
    monitor: Monitor, path: str, device: Virtio, known: VirtioState | None
) -> Virtio:
    """The device with the virtio-mmio transport that it is plugged into, if it has no proxy."""
    if path.endswith("/virtio-backend"):
        return device
    if known:
        return replace(device, transport=known.device.transport)
    bus = await _property(monitor, path, "parent_bus")
    return replace(device, transport=as_text(bus).rpartition("/")[0] if bus is not None else "")


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


async def _queue_sizes(monitor: Monitor, path: str, queues: int, first: int = 0) -> dict[int, int]:
    """Queue → entries in use, of so many queues, up to the first that there is not."""
    numbers = range(first, first + queues)
    sizes = await all_of(_queue_size(monitor, path, queue) for queue in numbers)
    told = itertools.takewhile(lambda size: size is not None, sizes)
    return {queue: size for queue, size in zip(numbers, told, strict=False) if size is not None}


async def _queue_size(monitor: Monitor, path: str, queue: int) -> int | None:
    arguments = {"path": path, "queue": queue}
    try:
        status = await monitor.execute("x-query-virtio-queue-status", arguments)
    except Refused:
        return None
    return queue_size(as_mapping(status))


async def _probed_queue_sizes(
    monitor: Monitor, path: str, known: VirtioState | None
) -> dict[int, int]:
    """The same of a device that does not tell how many it has."""
    if known:
        return await _queue_sizes(monitor, path, len(known.device.queue_sizes))
    sizes: dict[int, int] = {}
    for first in range(0, _MAX_QUEUE_SIZES, _PROBED_AT_ONCE):
        more = await _queue_sizes(monitor, path, _PROBED_AT_ONCE, first)
        sizes |= more
        if len(more) < _PROBED_AT_ONCE:
            break
    return sizes
