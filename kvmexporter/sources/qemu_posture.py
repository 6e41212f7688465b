# SPDX-License-Identifier: Apache-2.0
"""What a QEMU says of how its VM is built.

Commands: `human-monitor-command` "info qtree" and "info network", `query-block`,
`query-cpus-fast`, and `qom-get` of the first CPU's type and of each disk's I/O thread.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from kvmexporter.model.posture import Posture
from kvmexporter.model.qemu_posture import backings, cpu_model, devices, netdevs
from kvmexporter.model.qtree import parse
from kvmexporter.model.vm import bounded_name
from kvmexporter.sources.qmp import Monitor, Refused, as_list, as_mapping, as_text

_MAX_DISKS = 64
_MAX_PATH_LENGTH = 512


async def posture(monitor: Monitor) -> Posture:
    """Ask how a VM is built; what a QEMU refuses to say is left out."""
    tree = parse(await _human(monitor, "info qtree"))
    networks = netdevs(await _human(monitor, "info network"))
    try:
        blocks = [as_mapping(one) for one in as_list(await monitor.execute("query-block"))]
    except Refused:
        blocks = []
    threaded = await _threaded(monitor, blocks)
    return Posture(await _cpu_model(monitor), devices(tree, networks, backings(blocks), threaded))


async def _human(monitor: Monitor, command: str) -> str:
    try:
        reply = await monitor.execute("human-monitor-command", {"command-line": command})
    except Refused:
        return ""
    return as_text(reply)


async def _cpu_model(monitor: Monitor) -> str:
    try:
        cpus = as_list(await monitor.execute("query-cpus-fast"))
        path = as_text(as_mapping(cpus[0])["qom-path"])
        return cpu_model(as_text(await _property(monitor, path, "type")))
    except (Refused, IndexError):
        return ""


async def _property(monitor: Monitor, path: str, name: str) -> object:
    if len(path) > _MAX_PATH_LENGTH:
        raise Refused("a path of that length is not QEMU's")
    return await monitor.execute("qom-get", {"path": path, "property": name})


async def _threaded(monitor: Monitor, blocks: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """The drives whose requests an I/O thread takes, by both of their names."""
    found: set[str] = set()
    for block in blocks[:_MAX_DISKS]:
        path = as_text(block.get("qdev") or "")
        if path and await _iothread(monitor, path):
            names = (block.get("device"), as_mapping(block.get("inserted") or {}).get("node-name"))
            found.update(bounded_name(str(name)) for name in names if name)
    return frozenset(found)


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
