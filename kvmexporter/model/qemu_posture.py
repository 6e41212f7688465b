# SPDX-License-Identifier: Apache-2.0
"""How a VM is built, from what QEMU's monitor says.

Pure functions from `info qtree`, `info network` and `query-block` to `Posture`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kvmexporter.model.posture import Backing, Device, Kind, Make, Netdev, nic_backend
from kvmexporter.model.qtree import QtreeDevice, flag, number
from kvmexporter.model.vm import bounded_name

MAX_NETDEVS = 256
MAX_DRIVES = 256
_CLIENT = re.compile(r"[ \\]*([^:]{1,128}): index=(\d{1,4}),type=([a-z0-9-]{1,32}),?(.*)")
_IFNAME = re.compile(r"(?:^|,)ifname=([^,]{1,15})")
_FD = re.compile(r"(?:^|,)fd=(\d{1,7})")
_CPU_TYPE = re.compile(r"(.+?)(-(x86_64|i386|aarch64|arm|s390x|ppc64|riscv64))?-cpu")

# (writeback, direct, no-flush) → the name of `cache=`; qemu(1), -drive.
_CACHE_MODES = {
    (True, False, False): "writeback",
    (True, True, False): "none",
    (False, False, False): "writethrough",
    (False, True, False): "directsync",
}
_VIRTIO_BUSES = frozenset({"virtio-pci-bus", "virtio-mmio-bus", "virtio-ccw-bus"})
_CDROMS = frozenset({"ide-cd", "scsi-cd"})
# Their drives are firmware, removable media of the last century, or counted with their carrier.
_NO_DISKS = frozenset({"cfi.pflash01", "cfi.pflash02", "floppy", "isa-fdc"})


def cpu_model(cpu_type: str) -> str:
    """`host` of `host-x86_64-cpu`."""
    found = _CPU_TYPE.fullmatch(cpu_type)
    return bounded_name(found[1] if found else cpu_type)


def netdevs(text: str) -> dict[str, Netdev]:
    """The back ends that `info network` shows, by name."""
    found: dict[str, Netdev] = {}
    indices: dict[str, set[str]] = {}
    for line in text.splitlines():
        client = _CLIENT.fullmatch(line)
        if not client or client[3] in ("nic", "hubport"):
            continue
        name = bounded_name(client[1])
        if name not in found and len(found) == MAX_NETDEVS:
            break
        seen = indices.setdefault(name, set())
        seen.add(client[2])
        before = found.get(name, Netdev())
        taps = _IFNAME.findall(client[4])[:1]
        fds = _FD.findall(client[4])[:1]
        found[name] = Netdev(
            client[3],
            tuple(dict.fromkeys([*before.taps, *map(bounded_name, taps)])),
            (*before.fds, *map(int, fds)),
            len(seen),
            True if client[3] in ("vhost-user", "vhost-vdpa") else None,
        )
    return found


def backings(reply: Sequence[Mapping[str, Any]]) -> dict[str, Backing]:
    """The drives of `query-block` that hold something, by the names that devices know them by."""
    found: dict[str, Backing] = {}
    for block in reply[:MAX_DRIVES]:
        inserted = block.get("inserted")
        if not inserted:
            continue
        backing = Backing(_cache(inserted.get("cache") or {}), read_only=bool(inserted["ro"]))
        for name in (block.get("device"), inserted.get("node-name")):
            if name:
                found[bounded_name(str(name))] = backing
    return found


def _cache(flags: Mapping[str, Any]) -> str:
    if flags.get("no-flush"):
        return "unsafe"
    return _CACHE_MODES[bool(flags.get("writeback")), bool(flags.get("direct")), False]


def devices(
    tree: Sequence[QtreeDevice],
    networks: Mapping[str, Netdev],
    drives: Mapping[str, Backing],
    threaded: frozenset[str],
) -> tuple[Device, ...]:
    """The devices that carry data, and further virtio ones.

    Args:
        tree: of `info qtree`.
        networks: name → back end of NICs.
        drives: name → what is behind a disk.
        threaded: drives whose requests an I/O thread takes.
    """
    found = []
    for one in tree:
        if one.driver in _NO_DISKS or one.driver.startswith("pci-bridge"):
            continue
        if _is_proxy(one):
            continue  # told of where its function is met
        if _is_virtio(one):
            found.append(_virtio(one, tree, networks, drives, threaded))
        elif one.driver.startswith("vfio-"):
            found.append(_plain(one, tree, Kind.OTHER, Make.PASSTHROUGH, backend="vfio"))
        elif "mac" in one.properties and "netdev" in one.properties:
            name = one.get("netdev")
            behind = (name, networks.get(name, Netdev())) if name else None
            found.append(_plain(one, tree, Kind.NIC, Make.EMULATED, netdev=behind))
        elif drive := one.get("drive"):
            found.append(_disk(one, tree, (drive, drives.get(drive, Backing())), drive in threaded))
    return tuple(found)


def _is_proxy(one: QtreeDevice) -> bool:
    """Whether it only carries a virtio device: `virtio-net-pci`, `virtio-mmio`."""
    return one.driver == "virtio-mmio" or (
        one.driver.startswith(("virtio-", "vhost-")) and "ioeventfd" in one.properties
    )


def _is_virtio(one: QtreeDevice) -> bool:
    return one.bus in _VIRTIO_BUSES


def _carrier(one: QtreeDevice) -> QtreeDevice:
    """The device on a bus that guests see: a virtio function's proxy, if that is one."""
    above = one.parent
    return above if above and above.driver != "virtio-mmio" else one


def _virtio(
    function: QtreeDevice,
    tree: Sequence[QtreeDevice],
    networks: Mapping[str, Netdev],
    drives: Mapping[str, Backing],
    threaded: frozenset[str],
) -> Device:
    proxy, carrier = function.parent or function, _carrier(function)
    is_pci = carrier is not function
    hidden = flag(proxy.properties, "disable-modern" if is_pci else "force-legacy")
    netdev = drive = None
    kind = Kind.OTHER
    backend = "qemu"
    queues = number(function.get("num-queues", "num_queues"))
    if function.driver.startswith("vhost-"):
        backend = "vhost-user" if function.driver.startswith("vhost-user") else "vhost"
    if "netdev" in function.properties:
        kind = Kind.NIC
        name = function.get("netdev")
        if name:
            netdev = (name, networks.get(name, Netdev()))
            backend = nic_backend(netdev[1])
            queues = netdev[1].queues
    elif name := function.get("drive"):
        kind = Kind.DISK
        drive = (name, drives.get(name, Backing()))
    elif function.driver.startswith("vhost-user-blk"):
        kind = Kind.DISK
    carried = {name} if drive else {
        one.get("drive") for one in tree if one.parent is function and one.get("drive")
    }  # fmt: skip
    given = function.get("iothread", "iothread-vq-mapping")
    if backend == "qemu" and (given or carried & threaded):
        backend = "iothread"
    return Device(
        name=_name(carrier, tree),
        driver=carrier.driver,
        kind=kind,
        make=Make.PARAVIRTUAL,
        bus="pci" if is_pci else "virtio-mmio",
        backend=backend,
        queues=queues,
        ioeventfd=flag(proxy.properties, "ioeventfd"),
        vectors=number(proxy.get("vectors")) if is_pci else None,
        modern=None if hidden is None else not hidden,
        netdev=netdev,
        drive=drive,
    )


def _disk(
    one: QtreeDevice, tree: Sequence[QtreeDevice], drive: tuple[str, Backing], threaded: bool
) -> Device:
    """A disk that is no virtio device itself; it is as good as its controller."""
    carriers = [above for above in one.ancestors() if not above.driver.endswith("-pci")]
    controller = carriers[0].driver if carriers else ""
    paravirtual = controller.startswith(("virtio-scsi", "vhost-scsi", "vhost-user-scsi"))
    return _plain(
        one,
        tree,
        Kind.CDROM if one.driver in _CDROMS else Kind.DISK,
        Make.PARAVIRTUAL if paravirtual else Make.EMULATED,
        drive=drive,
        backend="iothread" if threaded else "qemu",
    )


def _plain(
    one: QtreeDevice,
    tree: Sequence[QtreeDevice],
    kind: Kind,
    make: Make,
    *,
    backend: str = "qemu",
    netdev: tuple[str, Netdev] | None = None,
    drive: tuple[str, Backing] | None = None,
) -> Device:
    return Device(
        _name(one, tree), one.driver, kind, make, _bus(one), backend, netdev=netdev, drive=drive
    )


def _bus(one: QtreeDevice) -> str:
    """`pci` of `PCI` and `PCIE`, `usb` of `usb-bus`."""
    kind = one.bus.lower().removesuffix("-bus")
    return "pci" if kind == "pcie" else kind


def _name(one: QtreeDevice, tree: Sequence[QtreeDevice]) -> str:
    """As `model/devices.py` calls it: the user's id, else the type and where it is."""
    if one.id:
        return one.id
    where = one.address or one.get("drive")
    if one.bus == "virtio-mmio-bus" and one.parent:
        several = sum(other.driver == one.driver for other in tree) > 1
        where = one.parent.address if several else ""
    return bounded_name(f"{one.driver}@{where}" if where else one.driver)
