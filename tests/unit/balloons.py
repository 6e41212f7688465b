# SPDX-License-Identifier: Apache-2.0
"""Balloons, and QEMUs that tell of one."""

from collections.abc import Mapping
from typing import Any

from kvmexporter.model.balloon import Balloon, BalloonDevice
from kvmexporter.model.devices import PciDevice
from kvmexporter.sources.qmp import Refused

MIB = 1 << 20
WHOLE = 256 * MIB
PATH = "/machine/peripheral/balloon0"
ADDRESS = 0xFEBF6000
FUNCTION = PciDevice("00:03.0", "balloon0", (("memory", 0xFEBF4000, 0xFEBF7FFF),), has_bars=True)
DEVICE = BalloonDevice(PATH, ADDRESS, FUNCTION)
ALL_OFFERED = {"deflate-on-oom": True, "free-page-hint": True, "free-page-reporting": True}


def balloon(actual: int = 256, target: int | None = 256, **more: Any) -> Balloon:
    """A balloon of a VM with 256 MiB, sizes in MiB."""
    wanted = None if target is None else target * MIB
    return Balloon(DEVICE, actual * MIB, WHOLE, wanted, **more)


def observed(*sizes: tuple[int, int | None], seconds: float = 10.0, **more: Any) -> Balloon:
    """A balloon after visits that found these (actual, target) in MiB, so far apart."""
    found = None
    for number, (actual, target) in enumerate(sizes):
        found = balloon(actual, target, **more).after(found, 1000.0 + number * seconds)
    assert found is not None
    return found


class BalloonMonitor:
    """A monitor with a balloon, as QEMU 7.2 answers; what a test changes, it tells.

    Attributes:
        asked: the commands, in order.
        properties: the device's, None: unknown to this QEMU.
        words: the device's configuration: pages to be held, pages held.
        gone: whether the device has been unplugged.
        moved: whether its function has been placed elsewhere.
        actual: what `query-balloon` says, bytes; None: what the words say.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.properties: dict[str, object] = {
            **ALL_OFFERED,
            "guest-stats-polling-interval": 0,
            "guest-stats": {"last-update": 0, "stats": {"stat-free-memory": (1 << 64) - 1}},
        }
        self.words = (0, 0)
        self.gone = False
        self.moved = False
        self.actual: int | None = None

    async def execute(self, command: str, arguments: Mapping[str, object] | None = None) -> object:
        """Answer as `Monitor` says."""
        self.asked.append(command)
        given = dict(arguments or {})
        if command == "query-memory-size-summary":
            return {"base-memory": WHOLE - 16 * MIB, "plugged-memory": 16 * MIB}
        if command == "query-pci":
            return [{"bus": 0, "devices": [self._function()]}]
        if command == "human-monitor-command":
            return self._xp(str(given["command-line"]))
        if self.gone:
            raise Refused("no such device")
        if command == "query-balloon":
            held = self.words[1] * 4096
            return {"actual": WHOLE - held if self.actual is None else self.actual}
        return self._property(command, given)

    def _function(self) -> dict[str, object]:
        address = 0xFE000000 if self.moved else 0xFEBF4000
        bar = {"type": "memory", "address": address, "size": 0x4000}
        return {"bus": 0, "slot": 3, "function": 0, "qdev_id": "balloon0", "regions": [bar]}

    def _xp(self, command: str) -> str:
        assert command == f"xp /2wx {ADDRESS:#x}"
        return f"{ADDRESS:016x}: 0x{self.words[0]:08x} 0x{self.words[1]:08x}\r\n"

    def _property(self, command: str, given: dict[str, object]) -> object:
        assert given["path"] == PATH
        name = str(given["property"])
        if name not in self.properties:
            raise Refused(f"Property '.{name}' not found")
        if command == "qom-set":
            self.properties[name] = given["value"]
            return {}
        assert command == "qom-get"
        return self.properties[name]
