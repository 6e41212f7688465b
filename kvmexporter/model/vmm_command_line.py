# SPDX-License-Identifier: Apache-2.0
"""What the command line of a VMM other than QEMU says of its VM.

| VMM | name | uuid | vCPUs | RAM |
| --- | --- | --- | --- | --- |
| cloud-hypervisor | its sockets' | `--platform uuid=` | `--cpus boot=` | `--memory`, its zones |
| Firecracker | `--id` | | | |
| crosvm | `--name` | | `--cpus num-cores=`, `-c` | `--mem size=`, `-m`: MiB |
| kvmtool | `--name` | | `--cpus`, `-c` | `--mem`, `-m`: MiB, or by its suffix |

A VM that was described through the VMM's API or in a file (Firecracker's always is) has nothing of
that here. Sources: cloud-hypervisor's option_parser and docs/memory.md; Firecracker's
docs/jailer.md (the jailer becomes the Firecracker it starts); crosvm's src/crosvm/cmdline.rs;
kvmtool's builtin-run.c; and, for how they name the sockets of the cloud-hypervisors they start,
libvirt's src/ch/ch_monitor.c and Kata Containers' clh.go.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

# More digits than any number of vCPUs or bytes has are a mistake or a trap.
_MAX_DIGITS = 18
_NUMBER = re.compile(rf"[0-9]{{1,{_MAX_DIGITS}}}")
_SIZE = re.compile(rf"([0-9]{{1,{_MAX_DIGITS}}})([BKMGTP]?)", re.IGNORECASE)
_SHIFT = {"b": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}
_OPTION = re.compile(r"--?[A-Za-z]")

_SOCKET_SUFFIX = re.compile(r"(-event-monitor-fifo|[-._]socket|[-._]sock|[-._]api)+$")
# Sockets and directories that are called after what they are, not after a VM.
_IMPERSONAL = frozenset(
    {"api", "ch", "ch-api", "clh", "clh-api", "cloud-hypervisor", "cloudhypervisor", "hypervisor"}
    | {"control", "sock", "socket", "vm", "vmm", "root", "run", "shm", "tmp", "user", "var"}
)

_FIRECRACKER_DEFAULT_ID = "anonymous-instance"

Options = Mapping[str, Sequence[Sequence[str]]]
"""Option with its dashes → for each of its occurrences the words up to the next option."""


@dataclass(frozen=True, slots=True)
class VmmIdentity:
    """A VMM and the identity of its VM; "" and None where the command line says nothing.

    Attributes:
        vmm: `cloud-hypervisor`, `firecracker`, `crosvm` or `kvmtool`.
        name: the VM's, as its user chose it: neither bounded nor printable.
        uuid: the VM's, likewise.
        vcpus: with which it starts.
        memory_bytes: its RAM, without what may be plugged in later.
    """

    vmm: str
    name: str = ""
    uuid: str = ""
    vcpus: int | None = None
    memory_bytes: int | None = None


def identify(arguments: Sequence[str]) -> VmmIdentity | None:
    """Tell which VMM a command line is of, and which VM.

    Returns:
        None if it is of none that is known here, or QEMU's.
    """
    program = PurePosixPath(arguments[0]).name if arguments else ""
    for belongs, parse in _VMMS:
        if belongs.fullmatch(program):
            return parse(_options(arguments[1:]))
    return None


def _cloud_hypervisor(options: Options) -> VmmIdentity:
    boot = _pairs(_last(options, "--cpus")).get("boot", "")
    uuid = _pairs(_last(options, "--platform")).get("uuid", "")
    return VmmIdentity(
        "cloud-hypervisor",
        _cloud_hypervisor_name(options),
        uuid,
        _number(boot),
        _cloud_hypervisor_memory(options),
    )


def _cloud_hypervisor_name(options: Options) -> str:
    """The name in the path of a socket: cloud-hypervisor itself gives VMs none.

    libvirt: `/run/libvirt/ch/NAME-event-monitor-fifo`, and before `NAME-socket`; Kata Containers:
    `/run/vc/vm/NAME/clh-api.sock`; else `NAME.sock` or `NAME/api.sock`.
    """
    for option in ("--api-socket", "--event-monitor"):
        value = _last(options, option)
        path = _pairs(value).get("path", "" if "=" in value else value)
        file = PurePosixPath(path)
        for part in (file.name, file.parent.name):
            name = _SOCKET_SUFFIX.sub("", part)
            if name and name.lower() not in _IMPERSONAL and not name.isdigit():
                return name
    return ""


def _cloud_hypervisor_memory(options: Options) -> int | None:
    sizes = [
        _size(size, "B")
        for option in ("--memory", "--memory-zone")
        for values in options.get(option, ())
        for value in values
        if (size := _pairs(value).get("size")) is not None
    ]
    known = [size for size in sizes if size is not None]
    # A sum that lacks a zone would be wrong, not approximate.
    return sum(known) if known and len(known) == len(sizes) else None


def _firecracker(options: Options) -> VmmIdentity:
    name = _last(options, "--id")
    return VmmIdentity("firecracker", "" if name == _FIRECRACKER_DEFAULT_ID else name)


def _crosvm(options: Options) -> VmmIdentity:
    cpus = _pairs(_last(options, "--cpus", "-c"), "num-cores").get("num-cores", "")
    memory = _pairs(_last(options, "--mem", "-m"), "size").get("size", "")
    return VmmIdentity(
        "crosvm",
        _last(options, "--name"),
        vcpus=_number(cpus),
        memory_bytes=_size(memory, "M"),
    )


def _kvmtool(options: Options) -> VmmIdentity:
    return VmmIdentity(
        "kvmtool",
        _last(options, "--name"),
        vcpus=_number(_last(options, "--cpus", "-c")),
        memory_bytes=_size(_last(options, "--mem", "-m"), "M"),
    )


_VMMS: tuple[tuple[re.Pattern[str], Callable[[Options], VmmIdentity]], ...] = (
    # Releases come as cloud-hypervisor-static and firecracker-v1.7.0-x86_64, and are run as such.
    (re.compile(r"cloud-hypervisor(-.*)?"), _cloud_hypervisor),
    (re.compile(r"firecracker([-_.].*)?"), _firecracker),
    (re.compile(r"crosvm([-_.].*)?"), _crosvm),
    (re.compile(r"lkvm(-static)?|kvmtool"), _kvmtool),
)


def _options(arguments: Sequence[str]) -> Options:
    """Split `--option value …`, `--option=value`, `-o value` and `-ovalue`."""
    found: dict[str, list[list[str]]] = {}
    values: list[str] = []
    for argument in arguments:
        if not _OPTION.match(argument):
            values.append(argument)
            continue
        option, separator, value = argument.partition("=")
        if not option.startswith("--") and len(option) > 2:
            option, separator, value = argument[:2], "=", argument[2:].removeprefix("=")
        values = [value] if separator else []
        found.setdefault(option, []).append(values)
    return found


def _last(options: Options, *spellings: str) -> str:
    """The value of an option that takes one: the first word after its last occurrence."""
    for spelling in spellings:
        if occurrences := options.get(spelling):
            # A positional argument may follow.
            return next(iter(occurrences[-1]), "")
    return ""


def _pairs(text: str, implied_key: str = "") -> Mapping[str, str]:
    """Split `key=value,key=value`, but nothing in brackets or quotes.

    Args:
        text: the value of an option.
        implied_key: of a first item that has none.
    """
    items = [""]
    depth = 0
    quoted = False
    for character in text:
        if character == '"':
            quoted = not quoted
        elif character == "," and not quoted and depth <= 0:
            items.append("")
        else:
            depth += (character == "[") - (character == "]")
            items[-1] += character
    result: dict[str, str] = {}
    for i, item in enumerate(items):
        key, separator, value = item.partition("=")
        if separator:
            result[key] = value
        elif i == 0 and implied_key:
            result[implied_key] = key
    return result


def _number(text: str) -> int | None:
    return int(text) if _NUMBER.fullmatch(text) else None


def _size(text: str, default_suffix: str) -> int | None:
    found = _SIZE.fullmatch(text)
    return int(found[1]) << _SHIFT[(found[2] or default_suffix).lower()] if found else None
