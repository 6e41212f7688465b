# SPDX-License-Identifier: Apache-2.0
"""What a QEMU says of how its VM is built.

Commands: `query-block`, and `qom-get` of the first CPU's type and of each disk's I/O thread.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kvmexporter.model.posture import Backing, Netdev, Posture
from kvmexporter.model.qemu_posture import backings, cpu_model, devices
from kvmexporter.model.qtree import parse
from kvmexporter.model.vm import bounded_name
from kvmexporter.sources.qemu_cpu import Vcpu
from kvmexporter.sources.qmp import Monitor, Refused, Together, all_of, as_list, as_mapping, as_text

_MAX_DISKS = 64
_MAX_PATH_LENGTH = 512


@dataclass(frozen=True, slots=True)
class Blocks:
    """What is behind disks.

    Attributes:
        backings: name of a drive or node → what it is.
        disks: (QOM path, names of its drive) of the disks.
    """

    backings: Mapping[str, Backing]
    disks: tuple[tuple[str, tuple[str, ...]], ...]


async def blocks(monitor: Monitor) -> Blocks:
    """Ask what is behind disks; of a QEMU that refuses to say, nothing."""
    try:
        told = [as_mapping(one) for one in as_list(await monitor.execute("query-block"))]
    except Refused:
        told = []
    disks = []
    for block in told[:_MAX_DISKS]:
        names = (block.get("device"), as_mapping(block.get("inserted") or {}).get("node-name"))
        if path := as_text(block.get("qdev") or ""):
            disks.append((path, tuple(bounded_name(str(name)) for name in names if name)))
    return Blocks(backings(told), tuple(disks))


async def posture(
    monitor: Monitor,
    qtree: str,
    networks: Mapping[str, Netdev],
    behind: Blocks,
    cpus: Sequence[Vcpu],
) -> Posture:
    """Ask how a VM is built; what a QEMU refuses to say is left out.

    Args:
        monitor: of the QEMU.
        qtree: its device tree.
        networks: name → back end of NICs.
        behind: what is behind its disks.
        cpus: its vCPUs.
    """
    async with Together() as asked:
        model = asked.by(_cpu_model(monitor, cpus))
        threaded = asked.by(_threaded(monitor, behind))
    return Posture(
        model.result(), devices(parse(qtree), networks, behind.backings, threaded.result())
    )


async def _cpu_model(monitor: Monitor, cpus: Sequence[Vcpu]) -> str:
    if not cpus:
        return ""
    try:
        return cpu_model(as_text(await _property(monitor, cpus[0].path, "type")))
    except Refused:
        return ""


async def _property(monitor: Monitor, path: str, name: str) -> object:
    if len(path) > _MAX_PATH_LENGTH:
        raise Refused("a path of that length is not QEMU's")
    return await monitor.execute("qom-get", {"path": path, "property": name})


async def _threaded(monitor: Monitor, behind: Blocks) -> frozenset[str]:
    """The drives whose requests an I/O thread takes, by both of their names."""
    threads = await all_of(_iothread(monitor, path) for path, _ in behind.disks)
    return frozenset(
        name
        for (_, names), has_one in zip(behind.disks, threads, strict=True)
        if has_one
        for name in names
    )


async def _iothread(monitor: Monitor, path: str) -> bool:
    """Whether a disk has an I/O thread: its own, or its SCSI controller's."""
    try:
        return bool(await _property(monitor, path, "iothread"))
    except Refused:  # it is no virtio disk
        pass
    try:
        bus = as_text(await _property(monitor, path, "parent_bus"))
        return bool(await _property(monitor, bus.rpartition("/")[0], "iothread"))
    except Refused:
        return False
