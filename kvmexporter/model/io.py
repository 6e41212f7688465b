# SPDX-License-Identifier: Apache-2.0
"""Port and memory-mapped accesses: to which device, by which path, who handled them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from typing import NamedTuple

from kvmexporter.model.counters import Counters
from kvmexporter.model.histogram import Histogram, from_words


class IoTarget(NamedTuple):
    """What an I/O slot stands for.

    Attributes:
        device: the user's own id of it, else a stable name; `unknown` for addresses
            that belong to no known device.
        driver: the device model's type.
        path: emulated, virtio, vhost, irqchip, passthrough, platform or unknown.
    """

    device: str
    driver: str
    path: str


UNKNOWN_TARGET = IoTarget("unknown", "unknown", "unknown")


class IoAccess(NamedTuple):
    """How a device was accessed: `pio`, `mmio` or `fast_mmio`; direction; handler."""

    access: str
    direction: str
    handler: str


# As enumerated in kvmexporter/bpf: a slot's cells are access * 4 + direction * 2 + handler.
CELLS = (
    IoAccess("pio", "read", "kernel"),
    IoAccess("pio", "read", "userspace"),
    IoAccess("pio", "write", "kernel"),
    IoAccess("pio", "write", "userspace"),
    IoAccess("mmio", "read", "kernel"),
    IoAccess("mmio", "read", "userspace"),
    IoAccess("mmio", "write", "kernel"),
    IoAccess("mmio", "write", "userspace"),
    IoAccess("fast_mmio", "write", "kernel"),
)


class IoExit(NamedTuple):
    """Exits of one kind: the fields of `IoTarget`, then those of `IoAccess`."""

    device: str
    driver: str
    path: str
    access: str
    direction: str
    handler: str

    @property
    def target(self) -> IoTarget:
        """For what: one object for all that are equal."""
        return _target(*self[:3])


class DevicePath(NamedTuple):
    """What handling times are told by: fields of `IoTarget`."""

    device: str
    path: str


@lru_cache(maxsize=4096)
def _device_path(target: IoTarget) -> DevicePath:
    return DevicePath(target.device, target.path)


@lru_cache(maxsize=4096)
def _target(device: str, driver: str, path: str) -> IoTarget:
    return IoTarget(device, driver, path)


@lru_cache(maxsize=4096)
def _cells(target: IoTarget) -> tuple[IoExit, ...]:
    """What the cells of a slot count, as objects that all VMs share."""
    return tuple(IoExit(*target, *access) for access in CELLS)


@dataclass(frozen=True, slots=True)
class VmIo:
    """The I/O exits of one VM since counting began.

    Attributes:
        exits: target and access → exits; zeros left out.
        handling: device and path → time from the exit to the next entry.
    """

    exits: Mapping[IoExit, int]
    handling: Mapping[DevicePath, Histogram]


@dataclass(frozen=True, slots=True)
class UnknownAddress:
    """An address that a guest touched and that belongs to no known device: one of a sample.

    Attributes:
        vm: the VM's name.
        space: `port`, or `memory` with the address of a page.
        address: where.
        accesses: how often, since it came into the sample.
    """

    vm: str
    space: str
    address: int
    accesses: int


class _Names(NamedTuple):
    """What the I/O counters of VMs with the same slots are called.

    Attributes:
        exits: cell → what it counts.
        times: slot → what its handling times are told by.
        is_alone: slot → whether no other slot's times are told by the same.
    """

    exits: tuple[IoExit, ...]
    times: tuple[DevicePath, ...]
    is_alone: tuple[bool, ...]


@lru_cache(maxsize=1024)
def _names(targets: tuple[IoTarget, ...], slots: int) -> _Names:
    of_slots = (*targets, *repeat(UNKNOWN_TARGET, slots - len(targets)))
    times = tuple(map(_device_path, of_slots))
    slots_of = Counter(times)
    return _Names(
        tuple(exit_ for target in of_slots for exit_ in _cells(target)),
        times,
        tuple(slots_of[name] == 1 for name in times),
    )


def vm_io(counters: Counters, targets: tuple[IoTarget, ...], least: int = 0) -> VmIo:
    """Name the I/O counters of one VM.

    Args:
        counters: of the VM.
        targets: slot → what it stands for; slots beyond count as unknown.
        least: handling times of fewer accesses are of no use, and may be left out.
    """
    slots = counters.count("io") // len(CELLS)
    names = _names(targets, slots)
    counted = list(counters.nonzero("io"))
    exits = {names.exits[cell]: count for cell, count in counted}
    if len(exits) < len(counted):
        exits = dict.fromkeys(exits, 0)
        for cell, count in counted:
            exits[names.exits[cell]] += count
    times: dict[DevicePath, Histogram] = {}
    words_each = counters.count("io_handling") // slots
    # What is told by one name is rare together, or not at all.
    for slot, words in counters.rows("io_handling", words_each, least, names.is_alone):
        key, histogram = names.times[slot], from_words(words)
        earlier = times.get(key)
        times[key] = histogram.plus(earlier) if earlier else histogram
    return VmIo(exits, times)


def vm_kicks(counters: Counters, labels: Sequence[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Name the doorbell counters of one VM: (device, queue) → kicks; zeros left out."""
    return {
        labels[place]: count for place, count in counters.nonzero("kicks") if place < len(labels)
    }
