# SPDX-License-Identifier: Apache-2.0
"""QEMU's device tree, as its monitor prints it: `info qtree`.

Source: system/qdev-monitor.c, QEMU 7.2 to 11.1. Buses and devices nest by two spaces each; a
device's properties are `name = value`, text in quotes, numbers followed by another form of them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from kvmexporter.model.vm import bounded_name

MAX_DEVICES = 1024
_MAX_BUSES = 4 * MAX_DEVICES
_DEVICE = re.compile(r'dev: ([^,]{1,128}), id "(.*)"')
_PROPERTY = re.compile(r"([A-Za-z0-9_-]{1,64}) = (.*)")
_CLASS = re.compile(r"class .*, addr ([0-9a-f]{1,8}:[0-9a-f]{2}\.[0-7]), pci id ")
_MMIO = re.compile(r"mmio ([0-9a-f]{16})/")

# The only ones that anybody asks for; a tree is the tenant's word, and large.
_WANTED = frozenset(
    {
        "ioeventfd", "vectors", "disable-modern", "force-legacy", "netdev", "mac", "mq", "drive",
        "num-queues", "num_queues", "iothread", "iothread-vq-mapping", "host", "chardev",
    }
)  # fmt: skip


@dataclass(slots=True)
class QtreeDevice:
    """A device; filled while the text is read.

    Attributes:
        driver: its type.
        id: the user's, "" if none.
        parent: the device whose bus it is on, None at the root.
        bus: the type of that bus: `PCI`, `IDE`, `SCSI`, `virtio-pci-bus`, …
        address: bus:slot.function of a PCI device, the first address of one of the system bus, else
            "".
        properties: name → value, without quotes and second form.
    """

    driver: str
    id: str
    parent: "QtreeDevice | None"
    bus: str = ""
    address: str = ""
    properties: dict[str, str] = field(default_factory=dict)

    def get(self, *names: str) -> str:
        """The first of these properties that it has, "" if none."""
        return next((self.properties[name] for name in names if name in self.properties), "")

    def ancestors(self) -> Iterator["QtreeDevice"]:
        """The devices that carry it, the nearest first."""
        above = self.parent
        while above is not None:
            yield above
            above = above.parent


@dataclass(slots=True)
class _Bus:
    parent: QtreeDevice | None
    type: str = ""


def parse(text: str) -> tuple[QtreeDevice, ...]:
    """The devices, carriers before what they carry; at most MAX_DEVICES of them."""
    found: list[QtreeDevice] = []
    # Indentation → what was opened there last.
    open_at: dict[int, QtreeDevice | _Bus] = {}
    buses = 0
    for line in text.splitlines():
        content = line.lstrip(" ")
        depth = len(line) - len(content)
        above = open_at.get(depth - 2)
        if content.startswith("bus: "):
            buses += 1
            if buses > _MAX_BUSES:
                break
            open_at[depth] = _Bus(above if isinstance(above, QtreeDevice) else None)
        elif device := _DEVICE.fullmatch(content):
            if len(found) == MAX_DEVICES:
                break
            bus = above if isinstance(above, _Bus) else _Bus(None)
            one = QtreeDevice(device[1], bounded_name(device[2]), bus.parent, bus.type)
            open_at[depth] = one
            found.append(one)
        elif isinstance(above, _Bus):
            if content.startswith("type "):
                above.type = bounded_name(content.removeprefix("type "))
        elif isinstance(above, QtreeDevice):
            _describe(above, content)
    return tuple(found)


def _describe(device: QtreeDevice, content: str) -> None:
    if pci := _CLASS.match(content):
        device.address = pci[1]
    elif (mmio := _MMIO.match(content)) and not device.address:
        device.address = f"{int(mmio[1], 16):x}"
    elif (one := _PROPERTY.fullmatch(content)) and one[1] in _WANTED:
        device.properties[one[1]] = bounded_name(_value(one[2]))


def _value(text: str) -> str:
    if text[:1] == '"':
        return text[1:].removesuffix('"')
    return "" if text == "<null>" else text.partition(" ")[0]


def flag(properties: Mapping[str, str], name: str) -> bool | None:
    """A property that is on or off; None if there is no such property."""
    value = properties.get(name)
    return None if value is None else value in ("true", "on", "yes")


def number(text: str) -> int | None:
    """A property that is a small number; None for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None
