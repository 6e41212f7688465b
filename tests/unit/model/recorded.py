# SPDX-License-Identifier: Apache-2.0
"""The recordings of `record.py`, as tests use them."""

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from kvmexporter.model.posture import Posture
from kvmexporter.model.qemu_posture import backings, devices, netdevs
from kvmexporter.model.qtree import parse as qtree
from tests.unit.model.record import command_key

_DIRECTORY = Path(__file__).with_name("recordings")
_BACKEND = "/virtio-backend"

NAMES = tuple(sorted((path.parent.name, path.stem) for path in _DIRECTORY.glob("*/*.json")))
"""(release, configuration) of all recordings."""

RELEASES = tuple(sorted({release for release, _ in NAMES}))


@dataclass(frozen=True, slots=True)
class Recording:
    """One VM's answers.

    Attributes:
        release: of QEMU, "7.2".
        configuration: a name of `configurations.py`.
        replies: `command_key` → what QEMU answered, error or not.
        fatal: commands that ended QEMU.
    """

    release: str
    configuration: str
    replies: Mapping[str, Mapping[str, Any]]
    fatal: frozenset[str]

    def value(self, name: str, /, **arguments: object) -> Any:
        """A command's value; None if QEMU refused it or was not asked."""
        return self.replies.get(command_key(name, arguments), {}).get("return")

    def mtree(self) -> str:
        """The output of `info mtree -f -o`."""
        return str(self.value("human-monitor-command", **{"command-line": "info mtree -f -o"}))

    def regions(self) -> tuple[Region, ...]:
        """Those that guests exit for."""
        return parse(self.mtree())

    def pci(self) -> tuple[PciDevice, ...]:
        """The PCI functions."""
        return pci_devices(self.value("query-pci"))

    def types(self) -> dict[str, str]:
        """QOM path → type of the devices, and of all that owns a region."""
        types: dict[str, str] = {}
        for root in ("", "/unattached", "/peripheral", "/peripheral-anon"):
            types |= child_types(f"/machine{root}", self.value("qom-list", path=f"/machine{root}"))
        for owner in {region.owner for region in self.regions() if region.owner}:
            if kind := self.value("qom-get", path=owner, property="type"):
                types[owner] = kind
        return types

    def virtio(self) -> tuple[Virtio, ...]:
        """The virtio devices, by what can be asked of any release."""
        found = []
        for device in self.value("x-query-virtio"):
            path = device["path"]
            sizes = {
                queue: queue_size(status)
                for queue in range(3)
                if (status := self.value("x-query-virtio-queue-status", path=path, queue=queue))
            }
            vhost = self.value("x-query-virtio-vhost-queue-status", path=path, queue=0)
            status = self.value("x-query-virtio-status", path=path) or {
                "name": device["name"],
                "num-vqs": len(sizes),
                "vhost-started": vhost is not None,
            }
            one = virtio_device(path, status, sizes)
            if not path.endswith(_BACKEND):
                bus = self.value("qom-get", path=path, property="parent_bus")
                one = Virtio(
                    one.path, one.name, one.queues, one.vhost, one.features, one.queue_sizes,
                    transport=bus.rpartition("/")[0],
                )  # fmt: skip
            found.append(one)
        return tuple(found)

    def human(self, command: str) -> str:
        """The output of a command of the human monitor."""
        return str(self.value("human-monitor-command", **{"command-line": command}))

    def posture(self) -> Posture:
        """How the VM is built; which disks have an I/O thread is left out."""
        networks = netdevs(self.human("info network"))
        drives = backings(self.value("query-block"))
        found = devices(qtree(self.human("info qtree")), networks, drives, frozenset())
        return Posture("qemu64", found)

    def windows(self) -> tuple[Window, ...]:
        """What each range of addresses stands for."""
        return windows(self.regions(), self.pci(), self.types(), self.virtio())


@functools.cache
def load(release: str, configuration: str) -> Recording:
    """One recording."""
    content = json.loads((_DIRECTORY / release / f"{configuration}.json").read_text())
    return Recording(release, configuration, content["replies"], frozenset(content["fatal"]))


def at(found: tuple[Window, ...], space: str, address: int) -> Window | None:
    """The only window that an address is in, None if it is in none."""
    holders = [one for one in found if one.space == space and one.first <= address <= one.last]
    assert len(holders) <= 1, holders
    return holders[0] if holders else None
