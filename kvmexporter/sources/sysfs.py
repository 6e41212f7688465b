# SPDX-License-Identifier: Apache-2.0
"""What the kernel says in /sys of its clocks, timers, CPUs, PTP devices and KVM's parameters.

Source: Documentation/ABI/testing/sysfs-devices-system-clocksource and sysfs-ptp,
/sys/module/NAME/parameters. Each value is one small file.
"""

from collections.abc import Iterable
from pathlib import Path

from kvmexporter.errors import Unavailable
from kvmexporter.model.clocks import Clocksources, PtpDevice

_CLOCKSOURCES = "devices/system/clocksource/clocksource0"
_CLOCKEVENTS = "devices/system/clockevents"
_CPUS_ONLINE = "devices/system/cpu/online"
_MAX_BYTES = 4096  # what the kernel gives at most for one attribute


class Sysfs:
    """A sysfs tree.

    Args:
        root: where it is mounted.
    """

    def __init__(self, root: Path = Path("/sys")) -> None:
        self.root = root

    def clocksources(self) -> Clocksources:
        """The clocksource in use and those that could be.

        Raises:
            Unavailable: the kernel does not show them.
        """
        directory = self.root / _CLOCKSOURCES
        current = _text(directory / "current_clocksource")
        if not current:
            raise Unavailable(
                f"{directory} shows no clocksource", "mount sysfs, and bind /sys into a container"
            )
        available = (_text(directory / "available_clocksource") or "").split()
        return Clocksources(current, tuple(dict.fromkeys([*available, current])))

    def clockevents(self) -> dict[int, str]:
        """The clock event device of each CPU: CPU number → its name; empty if not shown."""
        result = {}
        for directory in (self.root / _CLOCKEVENTS).glob("clockevent*"):
            number = directory.name.removeprefix("clockevent")
            # The first line of a CPU that was offline is empty.
            if number.isdecimal() and (device := _text(directory / "current_device")):
                result[int(number)] = device
        return dict(sorted(result.items()))

    def cpus_online(self) -> int | None:
        """How many CPUs are online; None if the kernel does not say."""
        # Ranges, as "0-3,5" (Documentation/admin-guide/cputopology.rst).
        try:
            return sum(
                int(last or first) - int(first) + 1
                for one in (_text(self.root / _CPUS_ONLINE) or "").split(",")
                for first, _, last in (one.partition("-"),)
            )
        except ValueError:
            return None

    def module_parameters(self, module: str, names: Iterable[str]) -> dict[str, int]:
        """Parameters of a module that are there and are a number or a boolean.

        Returns:
            name → value; N is 0 and Y is 1. Empty if the module is not loaded.
        """
        return self.numbers(f"module/{module}/parameters", names)

    def numbers(self, directory: str, names: Iterable[str]) -> dict[str, int]:
        """Attributes of a directory that are there and are a number or a boolean.

        Returns:
            name → value; N is 0 and Y is 1.
        """
        result = {}
        for name in names:
            value = _number(_text(self.root / directory / name))
            if value is not None:
                result[name] = value
        return result

    def module_state(self, module: str) -> str | None:
        """`module` if it is loaded, `builtin` if it is part of the kernel; None if neither shows.

        A part of the kernel shows only if it has parameters or a version.
        """
        directory = self.root / "module" / module
        if not directory.is_dir():
            return None
        return "module" if (directory / "initstate").exists() else "builtin"

    def ptp_devices(self) -> tuple[PtpDevice, ...]:
        """The PTP hardware clocks, by name."""
        devices = [
            PtpDevice(directory.name, name)
            for directory in (self.root / "class/ptp").glob("ptp*")
            if (name := _text(directory / "clock_name"))
        ]
        return tuple(sorted(devices, key=lambda device: (len(device.device), device.device)))

    def dmi(self, attribute: str) -> str:
        """What the firmware says of the machine (`sys_vendor`, `product_name`), "" if nothing."""
        return _text(self.root / "class/dmi/id" / attribute) or ""


def _text(path: Path) -> str | None:
    """The content of an attribute, None if there is none or it may not be read."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode(errors="replace").strip()
    except OSError:
        return None


def _number(text: str | None) -> int | None:
    if text in ("N", "Y"):
        return int(text == "Y")
    try:
        return None if text is None else int(text)
    except ValueError:
        return None
