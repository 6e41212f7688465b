# SPDX-License-Identifier: Apache-2.0
"""What a QEMU command line says of its VM.

Source: qemu(1), QEMU 7.2 to 11; util/qemu-option.c: a comma within a value is
written twice, and the first item may leave its key out.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

# "-m 512" is in MiB; a suffix says otherwise.
_SIZE = re.compile(r"(\d+)([bkmgtpe]?)i?b?", re.IGNORECASE)
_SHIFT = {"b": 0, "k": 10, "": 20, "m": 20, "g": 30, "t": 40, "p": 50, "e": 60}
_MAX_SHIFTED_SIZE = 1 << 62

# Those read here, and those of the user's own words, whose values may look like options.
_WITH_VALUE = frozenset(
    {
        "-name", "-uuid", "-machine", "-M", "-cpu", "-m", "-qmp", "-qmp-pretty", "-chardev", "-mon",
        "-append", "-kernel", "-initrd", "-device", "-drive", "-netdev", "-object", "-smbios",
        "-fw_cfg", "-blockdev", "-serial", "-smp", "-pidfile", "-D", "-msg", "-nic", "-net", "-hda",
        "-hdb", "-hdc", "-hdd", "-cdrom",
    }
)  # fmt: skip

# libvirt's monitor serves libvirt alone; a second client would lock it out.
_LIBVIRT_CHARDEV = "charmonitor"
LIBVIRT_DIRECTORY = "/libvirt/"

_AGENT_PORT = "org.qemu.guest_agent.0"


@dataclass(frozen=True, slots=True)
class QemuCommandLine:
    """The identity part of a command line; "" and None where it says nothing.

    Attributes:
        name: `-name`.
        uuid: `-uuid`.
        machine: the type of `-machine`.
        cpu_model: the model of `-cpu`, without its flags.
        memory_bytes: `-m`.
        qmp_sockets: paths of Unix sockets that speak QMP, libvirt's own left out.
        agent_socket: path of the Unix socket that leads to the guest's agent, "" if there is none
            or it is libvirt's own.
    """

    name: str = ""
    uuid: str = ""
    machine: str = ""
    cpu_model: str = ""
    memory_bytes: int | None = None
    qmp_sockets: tuple[str, ...] = ()
    agent_socket: str = ""


def is_qemu(arguments: Sequence[str]) -> bool:
    """Whether a command line is QEMU's."""
    program = arguments[0].rpartition("/")[2] if arguments else ""
    return program.startswith("qemu-system-") or program in ("qemu-kvm", "kvm")


def options(text: str, implied_key: str) -> Mapping[str, str]:
    """Split `key=value,key=value`, where the first key may be implied."""
    result: dict[str, str] = {}
    for i, item in enumerate(text.replace(",,", "\0").split(",")):
        key, separator, value = item.replace("\0", ",").partition("=")
        if separator:
            result[key] = value
        elif i == 0:
            result[implied_key] = key
        else:
            result[key] = "on"
    return result


def parse(arguments: Sequence[str]) -> QemuCommandLine:
    """Read the identity from QEMU's arguments; the last of a repeated option wins."""
    name = uuid = machine = cpu_model = ""
    memory: dict[str, str] = {}
    for option, value in option_pairs(arguments):
        match option:
            case "-name":
                name = options(value, "guest").get("guest", name)
            case "-uuid":
                uuid = value
            case "-machine" | "-M":
                machine = options(value, "type").get("type", machine)
            case "-cpu":
                cpu_model = value.partition(",")[0]
            case "-m":
                memory |= options(value, "size")
    return QemuCommandLine(
        name,
        uuid,
        machine,
        cpu_model,
        _size(memory.get("size", "")),
        _qmp_sockets(arguments),
        _agent_socket(arguments),
    )


def option_pairs(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The options that take a value, with one dash, each with its value; the rest passed over."""
    rest = iter(arguments[1:])
    for option in rest:
        # QEMU takes long options with one dash or two.
        name = option.replace("--", "-", 1) if option.startswith("--") else option
        if name in _WITH_VALUE:
            yield name, next(rest, "")


def _qmp_sockets(arguments: Sequence[str]) -> tuple[str, ...]:
    """Sockets of `-qmp unix:PATH`, and of `-mon` in control mode on a socket's `-chardev`."""
    found = []
    chardevs = _chardev_sockets(arguments)
    monitors = []
    for option, value in option_pairs(arguments):
        match option:
            case "-qmp" | "-qmp-pretty" if value.startswith("unix:"):
                found.append(options(value.removeprefix("unix:"), "path").get("path", ""))
            case "-mon":
                monitor = options(value, "chardev")
                if monitor.get("mode") == "control":
                    monitors.append(monitor.get("chardev", ""))
    found += [chardevs[name] for name in monitors if name in chardevs and name != _LIBVIRT_CHARDEV]
    return tuple(path for path in found if path and LIBVIRT_DIRECTORY not in path)


def _chardev_sockets(arguments: Sequence[str]) -> dict[str, str]:
    """Name of each character device that is a Unix socket → its path."""
    found = {}
    for option, value in option_pairs(arguments):
        if option == "-chardev":
            chardev = options(value, "backend")
            if chardev.get("backend") == "socket" and "path" in chardev:
                found[chardev.get("id", "")] = chardev["path"]
    return found


def _agent_socket(arguments: Sequence[str]) -> str:
    """The socket that a virtio-serial port of the agent's name is plugged into."""
    chardevs = _chardev_sockets(arguments)
    for option, value in option_pairs(arguments):
        device = options(value, "driver") if option == "-device" else {}
        if device.get("driver") == "virtserialport" and device.get("name") == _AGENT_PORT:
            path = chardevs.get(device.get("chardev", ""), "")
            return "" if LIBVIRT_DIRECTORY in path else path
    return ""


def _size(text: str) -> int | None:
    found = _SIZE.fullmatch(text)
    if not found or len(found[1]) > len(str(_MAX_SHIFTED_SIZE)):
        return None
    return int(found[1]) << _SHIFT[found[2].lower()]
