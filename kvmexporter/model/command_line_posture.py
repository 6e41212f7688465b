# SPDX-License-Identifier: Apache-2.0
"""How a VM is built, from QEMU's command line.

Source: qemu(1), QEMU 7.2 to 11; options are `key=value` lists or, as libvirt writes them, JSON.
What was plugged or unplugged since is not there, nor what a newer QEMU's defaults are.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from kvmexporter.model.posture import (
    Backends,
    Backing,
    Device,
    Kind,
    Make,
    Netdev,
    Posture,
    nic_backend,
)
from kvmexporter.model.qemu_command_line import option_pairs, options, parse
from kvmexporter.model.qtree import flag, number
from kvmexporter.model.vm import bounded_name

MAX_DEVICES = 256
_MAX_QUEUES = 256
_MAX_CHAIN = 8
_PROTOCOL = re.compile(r"[a-z0-9+-]+:")
_HOST_FILES = ("file", "host_device", "host_cdrom")
_DEFAULT_NIC = {"pc": "e1000", "q35": "e1000e", "microvm": "virtio-net-device"}
_DRIVE_DEVICES = {"ide": "ide-hd", "virtio": "virtio-blk-pci", "": "ide-hd"}
_CACHE_MODES = ("none", "writeback", "writethrough", "directsync", "unsafe")

Options = Mapping[str, str]


@dataclass(slots=True)
class _Line:
    """The options that matter here, in their order."""

    devices: list[Options] = field(default_factory=list)
    netdevs: dict[str, Netdev] = field(default_factory=dict)
    drives: dict[str, Backing] = field(default_factory=dict)
    nodes: dict[str, Options] = field(default_factory=dict)


def backends(arguments: Sequence[str]) -> Backends:
    """What stands behind the devices."""
    line = _read(arguments)
    return Backends(line.netdevs, line.drives)


def posture(arguments: Sequence[str]) -> Posture:
    """The devices that carry data, and further virtio ones."""
    line = _read(arguments)
    given = parse(arguments)
    is_x86 = "x86_64" in arguments[0] or "i386" in arguments[0]
    by_id = {one["id"]: one for one in line.devices if "id" in one}
    found = [device for one in line.devices if (device := _device(one, by_id, line))]
    return Posture(
        bounded_name(given.cpu_model) or ("qemu64" if is_x86 else ""), _with_names(found)
    )


def _read(arguments: Sequence[str]) -> _Line:
    line = _Line()
    machine = parse(arguments).machine
    default_nic = next((nic for name, nic in _DEFAULT_NIC.items() if name in machine), "e1000")
    for option, value in option_pairs(arguments):
        if len(line.devices) >= MAX_DEVICES:
            break
        match option:
            case "-device":
                line.devices.append(_options(value, "driver"))
            case "-netdev":
                given = _options(value, "type")
                line.netdevs[bounded_name(given.get("id", ""))] = _netdev(given)
            case "-nic" | "-net":
                _nic(line, option, _options(value, "type"), default_nic)
            case "-drive":
                _drive(line, _options(value, "file"))
            case "-hda" | "-hdb" | "-hdc" | "-hdd":
                _drive(line, {"file": value, "if": "ide"})
            case "-cdrom":
                _drive(line, {"file": value, "if": "ide", "media": "cdrom"})
            case "-blockdev":
                node = _options(value, "driver")
                line.nodes[node.get("node-name", "")] = node
            case _:
                pass
    for name in line.nodes:
        line.drives[bounded_name(name)] = _node(name, line.nodes)
    return line


def _options(text: str, implied_key: str) -> Options:
    if not text.startswith("{"):
        return options(text, implied_key)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return _flat(value) if isinstance(value, dict) else {}


def _flat(value: Mapping[str, object], prefix: str = "", depth: int = 0) -> dict[str, str]:
    """`{"cache": {"direct": true}}` as `cache.direct=on`."""
    result: dict[str, str] = {}
    for key, one in value.items():
        if isinstance(one, dict):
            if depth < _MAX_CHAIN:
                result |= _flat(one, f"{prefix}{key}.", depth + 1)
        elif isinstance(one, bool):
            result[prefix + key] = "on" if one else "off"
        elif isinstance(one, str | int):
            result[prefix + key] = str(one)
        elif one is not None:
            result[prefix + key] = "..."
    return result


def _netdev(given: Options) -> Netdev:
    kind = bounded_name(given.get("type", ""))
    fds = [one for one in given.get("fds", given.get("fd", "")).split(":") if number(one)]
    taps = [given["ifname"]] if "ifname" in given else []
    vhost: bool | None = None
    if kind in ("tap", "bridge"):
        handed = "vhostfd" in given or "vhostfds" in given
        vhost = flag(given, "vhost") if "vhost" in given else handed
    elif kind in ("vhost-user", "vhost-vdpa"):
        vhost = True
    queues = number(given.get("queues", "")) or len(fds) or 1
    return Netdev(
        "tap" if kind == "bridge" else kind,
        tuple(map(bounded_name, taps)),
        tuple(map(int, fds[:_MAX_QUEUES])),
        min(queues, _MAX_QUEUES),
        vhost,
    )


def _nic(line: _Line, option: str, given: Options, default_nic: str) -> None:
    """`-nic BACKEND,model=…` and `-net nic,model=…`, each a NIC."""
    model = given.get("model", default_nic)
    kind = given.get("type", "")
    if kind == "none" or (option == "-net" and kind != "nic"):
        return
    name = given.get("id", "") or f"#nic{len(line.devices)}"
    line.netdevs[bounded_name(name)] = _netdev(given if option == "-nic" else {})
    line.devices.append({"driver": "virtio-net-pci" if model == "virtio" else model,
                         "netdev": name})  # fmt: skip


def _drive(line: _Line, given: Options) -> None:
    interface = given.get("if", "")
    name = given.get("id", "") or f"#drive{len(line.drives)}"
    direct = flag(given, "cache.direct")
    cache = given.get("cache", "none" if direct else "writeback")
    if flag(given, "cache.no-flush"):
        cache = "unsafe"
    file = given.get("file", "")
    is_file = not _PROTOCOL.match(file) or file.startswith("file:")
    line.drives[bounded_name(name)] = Backing(
        cache if cache in _CACHE_MODES else "",
        _aio(given.get("aio", "threads" if is_file and file else "")),
        bool(flag(given, "readonly") or flag(given, "read-only")),
    )
    if driver := _DRIVE_DEVICES.get(interface):
        if given.get("media") == "cdrom":
            driver = "ide-cd"
        line.devices.append({"driver": driver, "drive": name})


def _node(name: str, nodes: Mapping[str, Options]) -> Backing:
    """A node of `-blockdev`, and what it gets its data from."""
    direct = no_flush = False
    aio, read_only = "", bool(flag(nodes[name], "read-only"))
    for _ in range(_MAX_CHAIN):
        node = nodes.get(name)
        if node is None:
            break
        # A node within a node is written as `file.driver`.
        for prefix in ("", "file."):
            direct |= bool(flag(node, f"{prefix}cache.direct"))
            no_flush |= bool(flag(node, f"{prefix}cache.no-flush"))
            if node.get(f"{prefix}driver") in _HOST_FILES:
                aio = _aio(node.get(f"{prefix}aio", "threads"))
        name = node.get("file", "")
    cache = "unsafe" if no_flush else "none" if direct else "writeback"
    return Backing(cache, aio, read_only)


def _aio(name: str) -> str:
    return name if name in ("threads", "native", "io_uring") else ""


def _device(given: Options, by_id: Mapping[str, Options], line: _Line) -> Device | None:
    driver = bounded_name(given.get("driver", ""))
    name = bounded_name(given.get("id", ""))
    netdev = drive = None
    if behind := bounded_name(given.get("netdev", "")):
        netdev = (behind, line.netdevs.get(behind, Netdev()))
    if behind := bounded_name(given.get("drive", "")):
        backing = line.drives.get(behind, Backing())
        drive = (behind, _with_write_cache(given, backing))
    if driver.startswith("vfio-"):
        return Device(name, driver, Kind.OTHER, Make.PASSTHROUGH, "pci", "vfio")
    if driver.startswith(("virtio-", "vhost-")):
        return _virtio(name, given, netdev, drive)
    if netdev:
        return Device(name, driver, Kind.NIC, Make.EMULATED, "pci", netdev=netdev)
    if not drive or driver == "floppy":
        return None
    controller = _controller(given, by_id, line)
    paravirtual = driver.startswith("scsi-") and controller.get("driver", "").startswith(
        ("virtio-scsi", "vhost-scsi")
    )
    return Device(
        name,
        driver,
        Kind.CDROM if driver.endswith("-cd") else Kind.DISK,
        Make.PARAVIRTUAL if paravirtual else Make.EMULATED,
        driver.partition("-")[0],
        "iothread" if paravirtual and "iothread" in controller else "qemu",
        drive=drive,
    )


def _with_write_cache(given: Options, backing: Backing) -> Backing:
    """A disk whose own write cache is off waits for each write, whatever its drive says."""
    if flag(given, "write-cache") is not False or backing.cache not in ("none", "writeback"):
        return backing
    slow = "directsync" if backing.cache == "none" else "writethrough"
    return Backing(slow, backing.aio, backing.read_only)


def _controller(given: Options, by_id: Mapping[str, Options], line: _Line) -> Options:
    """The SCSI controller of a disk: the one of its bus, else the first."""
    bus = given.get("bus", "")
    if bus:
        return by_id.get(bus.rpartition(".")[0], {})
    return next((one for one in line.devices if "scsi-pci" in one.get("driver", "")), {})


def _virtio(
    name: str,
    given: Options,
    netdev: tuple[str, Netdev] | None,
    drive: tuple[str, Backing] | None,
) -> Device:
    driver = bounded_name(given.get("driver", ""))
    is_pci = not driver.endswith(("-device", "-ccw"))
    backend = "qemu"
    queues = number(given.get("num-queues", given.get("num_queues", "")))
    if driver.startswith("vhost-"):
        backend = "vhost-user" if driver.startswith("vhost-user") else "vhost"
    elif netdev:
        backend, queues = nic_backend(netdev[1]), netdev[1].queues
    elif "iothread" in given or "iothread-vq-mapping" in given:
        backend = "iothread"
    disk = bool(drive) or driver.startswith("vhost-user-blk")
    return Device(
        name=name,
        driver=driver,
        kind=Kind.NIC if netdev else Kind.DISK if disk else Kind.OTHER,
        make=Make.PARAVIRTUAL,
        bus="pci" if is_pci else "ccw" if driver.endswith("-ccw") else "virtio-mmio",
        backend=backend,
        queues=queues,
        ioeventfd=flag(given, "ioeventfd"),
        vectors=number(given.get("vectors", "")),
        modern=not flag(given, "disable-modern") if "disable-modern" in given else None,
        netdev=netdev,
        drive=drive,
    )


def _with_names(found: Sequence[Device]) -> tuple[Device, ...]:
    """Those without an id are called by their type, and by number from the second on."""
    counts: dict[str, int] = {}
    result = []
    for device in found:
        if not device.name:
            counts[device.driver] = number_of = counts.get(device.driver, 0) + 1
            name = device.driver if number_of == 1 else f"{device.driver}#{number_of}"
            device = replace(device, name=name)
        result.append(device)
    return tuple(result)
