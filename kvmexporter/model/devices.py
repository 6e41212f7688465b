# SPDX-License-Identifier: Apache-2.0
"""The devices of a VM, and which stretch of its address spaces belongs to which.

Pure functions from QEMU's replies (`info mtree -f -o`, `query-pci`, `qom-list`,
`x-query-virtio-status`) to windows: address range → device, driver, path.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kvmexporter.model.drivers import BRIDGES, ONE_NAME, path_of
from kvmexporter.model.io import IoTarget
from kvmexporter.model.mtree import Region
from kvmexporter.model.vm import bounded_name

_PERIPHERAL = "/machine/peripheral/"
_PLUGGED = (_PERIPHERAL, "/machine/peripheral-anon/")
_VIRTIO_BACKEND = "/virtio-backend"

# Regions that QEMU gives no owner but a container, and whose they are: the only device of such
# a type, or nobody's but the chipset's. Path of the latter.
_CONTAINERS = frozenset({"", "/machine", "/machine/unattached"})
_OWNERLESS = {
    "ide": (("piix3-ide", "piix4-ide"), "emulated"),
    "ioport80": ((), "platform"),
    "ioportF0": ((), "platform"),
}

MAX_PCI_DEVICES = 1024
_MAX_BARS = 7
_MAX_FEATURES = 128
_MAX_QUEUE_SIZE = 1 << 16
_DEFAULT_QUEUES = 4
_MAX_QUEUES = 1024
_NOTIFY_STRIDE = 4
_PAGE = 4096

# Registers of a whole device in one region, and the spans that are theirs alone: the doorbell of
# all queues, and its status. virtio 1.3, sections 4.1.4.8 (a transitional PCI device's port BAR)
# and 4.2.2 (virtio-mmio).
_REGISTERS = {
    "virtio-pci": ((0x10, 0x11), (0x12, 0x12)),
    "virtio-mmio": ((0x50, 0x5F), (0x70, 0x7F)),
}


@dataclass(frozen=True, slots=True)
class Virtio:
    """A virtio device's state, as QEMU tells it.

    Attributes:
        path: QOM path of the device that carries it (its proxy).
        name: `virtio-net`, …
        queues: number of virtqueues.
        vhost: whether the kernel or a vhost-user process serves them now.
        features: names of the negotiated features, without `VIRTIO_` and explanation.
        queue_sizes: queue number → entries.
        more_queues: whether there may be more of them than could be seen.
        transport: QOM path of the virtio-mmio transport it is plugged into; "" if it has a
            proxy of its own.
    """

    path: str
    name: str
    queues: int
    vhost: bool
    features: tuple[str, ...] = ()
    queue_sizes: Mapping[int, int] = field(default_factory=dict)
    more_queues: bool = False
    transport: str = ""


@dataclass(frozen=True, slots=True)
class PciDevice:
    """A PCI function and where its BARs are mapped now.

    Attributes:
        address: bus:slot.function.
        qdev_id: the user's id, "" if none.
        bars: (space, first address, last address).
        has_bars: whether it has any, mapped or not.
    """

    address: str
    qdev_id: str
    bars: tuple[tuple[str, int, int], ...]
    has_bars: bool = False


@dataclass(frozen=True, slots=True)
class Kicks:
    """A window that guests ring doorbells in.

    Attributes:
        device: whose.
        queues: how many virtqueues; 0: which of them does not show in the address.
        stride: bytes from one queue's doorbell to the next's.
        more: whether there may be further queues.
    """

    device: str
    queues: int
    stride: int
    more: bool = False


@dataclass(frozen=True, slots=True)
class Window:
    """A range of addresses and what it stands for.

    Attributes:
        space: `port` or `memory`.
        first: its first address.
        last: its last address, inclusive.
        target: the device, its driver and the path of accesses.
        moves: the guest places it (a PCI BAR).
        starts: its path depends on whether the guest has started the device.
        kicks: it is a virtio doorbell window.
        pci_config: memory-mapped PCI configuration space.
        virtio_common: a virtio device's common configuration.
        virtio_status: a virtio device's status register, and nothing else.
        owner: QOM path of the device; "" of what is nobody's but the chipset's.
    """

    space: str
    first: int
    last: int
    target: IoTarget
    moves: bool = False
    starts: bool = False
    kicks: Kicks | None = None
    pci_config: bool = False
    virtio_common: bool = False
    virtio_status: bool = False
    owner: str = ""


def pci_devices(reply: Sequence[Mapping[str, Any]]) -> tuple[PciDevice, ...]:
    """The functions of `query-pci`, those behind bridges included."""
    found: list[PciDevice] = []
    pending = [device for bus in reply for device in bus.get("devices", ())]
    while pending and len(found) < MAX_PCI_DEVICES:
        device = pending.pop()
        bridge = device.get("pci_bridge") or {}
        pending += bridge.get("devices", ())
        regions = device.get("regions", ())[:_MAX_BARS]
        bars = tuple(
            (
                "port" if region["type"] == "io" else "memory",
                region["address"],
                region["address"] + region["size"] - 1,
            )
            for region in regions
            if region["address"] >= 0 and region["size"] > 0
        )
        address = f"{device['bus']:02x}:{device['slot']:02x}.{device['function']}"
        found.append(PciDevice(address, device.get("qdev_id") or "", bars, bool(regions)))
    return tuple(sorted(found, key=lambda device: device.address))


def child_types(path: str, reply: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """QOM path → type of the children that `qom-list` gives."""
    types = {}
    for entry in reply:
        kind = entry.get("type", "")
        if kind.startswith("child<") and kind.endswith(">"):
            types[f"{path}/{entry['name']}"] = kind[len("child<") : -1]
    return types


def virtio_device(path: str, status: Mapping[str, Any], queue_sizes: Mapping[int, int]) -> Virtio:
    """A device from `x-query-virtio-status` at its backend's QOM path."""
    features = status.get("guest-features") or {}
    names = [*features.get("transports", ()), *features.get("dev-features", ())][:_MAX_FEATURES]
    return Virtio(
        path=path.removesuffix(_VIRTIO_BACKEND),
        name=bounded_name(str(status.get("name", ""))),
        queues=min(max(int(status.get("num-vqs", 0)), 0), _MAX_QUEUES),
        vhost=bool(status.get("vhost-started")),
        features=tuple(
            sorted(bounded_name(name.partition(":")[0].removeprefix("VIRTIO_")) for name in names)
        ),
        queue_sizes={
            queue: min(max(entries, 0), _MAX_QUEUE_SIZE) for queue, entries in queue_sizes.items()
        },
    )


def queue_size(status: Mapping[str, Any]) -> int:
    """Entries of a queue by `x-query-virtio-queue-status`; 0 if no driver has set it up.

    Until then QEMU tells how many there may be.
    """
    return int(status.get("vring-num", 0)) if status.get("vring-desc") else 0


def device_names(
    owners: Iterable[str], types: Mapping[str, str], addresses: Mapping[str, str]
) -> dict[str, str]:
    """QOM path → the name of the device: the user's id, else a stable one by type.

    Args:
        owners: the paths.
        types: path → driver.
        addresses: path → PCI address, or first address; tells several of a type apart.
    """
    paths = sorted(set(owners))
    of_type = Counter(types.get(path, path) for path in paths)
    names = {}
    for path in paths:
        driver = types.get(path, path.rpartition("/")[2])
        if driver in BRIDGES:
            name = driver
        elif path.startswith(_PERIPHERAL):
            name = path.removeprefix(_PERIPHERAL)
        elif ":" in addresses.get(path, "") or (of_type[driver] > 1 and driver not in ONE_NAME):
            name = f"{driver}@{addresses.get(path, path.rpartition('/')[2])}"
        else:
            name = driver
        names[path] = bounded_name(name)
    return names


def windows(
    regions: Sequence[Region],
    pci: Sequence[PciDevice],
    types: Mapping[str, str],
    virtio: Sequence[Virtio],
    functions: Mapping[str, str] | None = None,
) -> tuple[Window, ...]:
    """What each range of addresses stands for; ranges of nobody are left out.

    Args:
        regions: of both address spaces.
        pci: the PCI functions.
        types: QOM path → type.
        virtio: the virtio devices.
        functions: QOM path → PCI address on bus 0, as far as they were asked for it: it names a
            device before the guest has mapped its BARs.
    """
    bars = {space: _Bars(space, pci) for space in ("port", "memory")}
    virtio_by_path = {device.path: device for device in virtio}
    owners = _Owners(types, virtio)
    own = [
        replace(region, owner=owner)
        for region in regions
        if (owner := owners.of(region)) is not None
    ]
    have_bars = {device.address for device in pci if device.has_bars}
    addresses = {
        path: address for path, address in (functions or {}).items() if address in have_bars
    }
    movable = {region: bars[region.space].holder_of(region) for region in own}
    for region in own:
        if bar := movable[region]:
            addresses[region.owner] = bar
        else:
            addresses.setdefault(region.owner, f"{region.first:x}")
    names = device_names((region.owner for region in own if region.owner), types, addresses)
    has_kvm_pit = "kvm-pit" in types.values()
    result: list[Window] = []
    for region in own:
        moves = movable[region] is not None
        if not region.owner:
            target = IoTarget(region.name, region.name, _OWNERLESS[region.name][1])
            result.append(Window(region.space, region.first, region.last, target, moves))
            continue
        driver = types[region.owner]
        path = path_of(driver, has_kvm_pit=has_kvm_pit)
        target = IoTarget(names[region.owner], bounded_name(driver), path)
        device_virtio = virtio_by_path.get(region.owner)
        if device_virtio or driver.startswith("virtio-"):
            result += _virtio_windows(region, target, device_virtio, moves)
        else:
            result.append(
                Window(
                    region.space,
                    region.first,
                    region.last,
                    target,
                    moves,
                    pci_config=region.name == "pcie-mmcfg-mmio",
                    owner=region.owner,
                )
            )
    return tuple(result)


class _Owners:
    """Whose a region is."""

    def __init__(self, types: Mapping[str, str], virtio: Sequence[Virtio]) -> None:
        self._types = types
        self._plugged_into = {
            device.transport: device.path
            for device in virtio
            if device.transport and device.path in types
        }
        self._only: dict[str, str] = {}
        for name, (drivers, _) in _OWNERLESS.items():
            paths = [path for path, driver in types.items() if driver in drivers]
            self._only[name] = paths[0] if len(paths) == 1 else ""

    def of(self, region: Region) -> str | None:
        """A QOM path, "" for the chipset's own, None for nobody's."""
        if region.owner in _CONTAINERS:
            return self._only.get(region.name)
        owner = self._plugged_into.get(region.owner, region.owner)
        if owner.startswith(_PLUGGED):
            # A part of a device is that device: `/machine/peripheral/usb/xhci-core`.
            owner = "/".join(owner.split("/")[:4])
        return owner if owner in self._types else None


class _Bars:
    """The BARs of one address space, by what lies in them."""

    def __init__(self, space: str, pci: Sequence[PciDevice]) -> None:
        found = sorted(
            (first, last, device.address)
            for device in pci
            for kind, first, last in device.bars
            if kind == space
        )
        self._firsts = [first for first, _, _ in found]
        # Of those that begin before: the one that reaches furthest.
        self._furthest: list[tuple[int, str]] = []
        for _, last, address in found:
            furthest = self._furthest[-1] if self._furthest else (-1, "")
            self._furthest.append((last, address) if last > furthest[0] else furthest)

    def holder_of(self, region: Region) -> str | None:
        """The PCI address of the function in whose BAR a region lies."""
        before = bisect_right(self._firsts, region.first)
        if not before:
            return None
        last, address = self._furthest[before - 1]
        return address if region.last <= last else None


def _virtio_windows(
    region: Region, target: IoTarget, device: Virtio | None, moves: bool
) -> list[Window]:
    """The windows of a virtio device's region: its doorbells take the back end's path."""
    plain = Window(
        region.space, region.first, region.last, target, moves,
        virtio_common=region.name.startswith("virtio-pci-common"), owner=region.owner,
    )  # fmt: skip
    path = "vhost" if device and device.vhost else target.path
    bell = replace(plain, target=target._replace(path=path), starts=True)
    more = device is None or device.more_queues
    if region.name.startswith("virtio-pci-notify"):
        queues = device.queues if device and region.space == "memory" else 0
        if device is None and region.space == "memory":
            queues = _DEFAULT_QUEUES
        stride = _NOTIFY_STRIDE if region.last - region.first < _PAGE else _PAGE
        return [replace(bell, kicks=Kicks(target.device, queues, stride, more))]
    if region.name not in _REGISTERS or device is None or region.offset:
        return [plain]
    doorbell, status = _REGISTERS[region.name]
    return _apart(
        plain,
        (doorbell, replace(bell, kicks=Kicks(target.device, 0, _NOTIFY_STRIDE, more))),
        (status, replace(plain, virtio_status=True)),
    )


def _apart(whole: Window, *parts: tuple[tuple[int, int], Window]) -> list[Window]:
    """A window with others in place of spans of it, by their offsets, in order."""
    result = []
    rest = whole.first
    for (first, last), part in parts:
        start, end = whole.first + first, min(whole.first + last, whole.last)
        if start > whole.last:
            break
        if start > rest:
            result.append(replace(whole, first=rest, last=start - 1))
        result.append(replace(part, first=start, last=end))
        rest = end + 1
    if rest <= whole.last:
        result.append(replace(whole, first=rest))
    return result
