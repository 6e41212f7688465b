# SPDX-License-Identifier: Apache-2.0
"""What a QEMU says of its machine that the rest of a visit follows from.

Commands: `query-version`, `query-pci`, `human-monitor-command` "info mtree -f -o", "info qtree" and
"info network", `qom-list` of what can be plugged, `x-query-virtio`, `query-block`,
`query-cpus-fast`: ten, asked at once at each visit.

As long as the answers are the same, so is what was asked after them: what a device is, whose
address range it has, on which bus it is and what it was made with is for as long as it is there.
A device that comes, goes or is exchanged shows in "info qtree" and in the lists of what is plugged;
a BAR that moves, in `query-pci` and "info mtree"; another back end of a NIC, in "info network";
another medium or cache mode, in `query-block`; a CPU that comes or goes, and another process behind
the same door, in `query-cpus-fast`.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kvmexporter.model.devices import PciDevice, child_types, pci_devices
from kvmexporter.model.posture import Netdev
from kvmexporter.model.qemu_posture import netdevs
from kvmexporter.model.vm import bounded_name
from kvmexporter.sources.qemu_cpu import Vcpu, vcpus
from kvmexporter.sources.qemu_posture import Blocks, blocks
from kvmexporter.sources.qmp import Monitor, Refused, Together, as_list, as_mapping, as_text

_MAX_VIRTIO_DEVICES = 64
_MAX_BUILD_LENGTH = 128
_MAX_PATH_LENGTH = 512
_PLUGGED = ("/machine/peripheral", "/machine/peripheral-anon")


@dataclass(frozen=True, slots=True)
class Machine:
    """One VM's.

    Attributes:
        version: of QEMU, `7.2.0`.
        build: its version and package.
        pci: the PCI functions, before its address map was asked for.
        mtree: its address map.
        qtree: its device tree; "" if it does not tell.
        plugged: QOM path → type of what can be plugged.
        networks: name → back end of NICs.
        blocks: what is behind disks.
        cpus: the vCPUs.
        virtio: QOM path of the backend → name of its virtio devices; None before QEMU 7.2.
    """

    version: str
    build: str
    pci: tuple[PciDevice, ...]
    mtree: str
    qtree: str
    plugged: Mapping[str, str]
    networks: Mapping[str, Netdev]
    blocks: Blocks
    cpus: tuple[Vcpu, ...]
    virtio: Mapping[str, str] | None

    def fingerprint(self) -> int:
        """A number that is another one if anything of this is another; not for keeping."""
        rest = (self.pci, self.plugged, self.networks, self.blocks, self.cpus, self.virtio)
        return hash((self.build, self.mtree, self.qtree, repr(rest)))


async def machine(monitor: Monitor) -> Machine:
    """Ask for it."""
    async with Together() as asked:
        version = asked.by(_version(monitor))
        pci = asked.by(functions(monitor))
        mtree = asked.by(_text(monitor, "info mtree -f -o"))
        virtio = asked.by(_virtio(monitor))
        qtree = asked.by(_text_if_told(monitor, "info qtree"))
        networks = asked.by(_networks(monitor))
        behind = asked.by(blocks(monitor))
        cpus = asked.by(vcpus(monitor))
        plugged = [asked.by(children(monitor, path)) for path in _PLUGGED]
    return Machine(
        *version.result(),
        pci.result(),
        mtree.result(),
        qtree.result(),
        {path: kind for one in plugged for path, kind in one.result().items()},
        networks.result(),
        behind.result(),
        cpus.result(),
        virtio.result(),
    )


async def functions(monitor: Monitor) -> tuple[PciDevice, ...]:
    """The PCI functions and where their BARs are now."""
    return pci_devices(as_list(await monitor.execute("query-pci")))


async def children(monitor: Monitor, path: str) -> dict[str, str]:
    """QOM path → type of what is below one."""
    return child_types(path, as_list(await monitor.execute("qom-list", {"path": path})))


async def _version(monitor: Monitor) -> tuple[str, str]:
    reply = as_mapping(await monitor.execute("query-version"))
    version = sys.intern(_number(as_mapping(reply["qemu"])))
    return version, f"{version} {reply.get('package', '')}"[:_MAX_BUILD_LENGTH]


def _number(parts: Mapping[str, Any]) -> str:
    return bounded_name(".".join(str(int(parts[part])) for part in ("major", "minor", "micro")))


async def _text(monitor: Monitor, command: str) -> str:
    return as_text(await monitor.execute("human-monitor-command", {"command-line": command}))


async def _text_if_told(monitor: Monitor, command: str) -> str:
    try:
        return await _text(monitor, command)
    except Refused:
        return ""


async def _networks(monitor: Monitor) -> dict[str, Netdev]:
    return netdevs(await _text_if_told(monitor, "info network"))


async def _virtio(monitor: Monitor) -> dict[str, str] | None:
    try:
        devices = as_list(await monitor.execute("x-query-virtio"))
    except Refused:  # before QEMU 7.2
        return None
    found = {}
    for device in devices[:_MAX_VIRTIO_DEVICES]:
        path = as_text(device["path"])
        if len(path) <= _MAX_PATH_LENGTH:
            found[path] = bounded_name(str(device.get("name", "")))
    return found
