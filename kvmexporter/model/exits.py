# SPDX-License-Identifier: Apache-2.0
"""Why a VM's vCPUs leave the guest, and how long until they are back.

Pure functions from raw counters to named ones; zeros are left out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from kvmexporter.model.counters import Counters
from kvmexporter.model.histogram import Histogram, from_words
from kvmexporter.tables.exit_reasons import (
    EXIT_CLASSES,
    exit_class,
    exit_reason,
    slot_code,
)
from kvmexporter.tables.hypercalls import OTHER_HYPERCALL_SLOT, hypercall_name
from kvmexporter.tables.msrs import MSR_SLOTS, msr_name
from kvmexporter.tables.userspace_exits import userspace_exit_reason

# As enumerated in kvmexporter/bpf/vcpu.bpf.c.
DIRECTIONS = ("read", "write")
INTERRUPT_KINDS = ("external", "software", "reinjected", "exception")
HALT_OUTCOMES = ("poll", "wait", "invalid")
IDLE_CLASS = "hlt"

_MSR_CELLS = tuple(
    (msr_name(slot), direction) for slot in range(MSR_SLOTS) for direction in DIRECTIONS
)

EXIT_EVENT = "kvm_exit"
"""The tracepoint that fires at every exit, where the processor runs guests itself."""

_ACCESSES_ALONE = "only those with an access that KVM or the VMM emulates are counted"

UNANNOUNCED = f"KVM announces no exits here (no hardware virtualisation in use): {_ACCESSES_ALONE}"
"""What there is to say of a KVM whose kvm_exit never fires."""

UNHEARD = (
    f"exits are not listened to ({EXIT_EVENT} has no probe, kvmexporter doctor says why): "
    f"{_ACCESSES_ALONE}"
)
"""What there is to say where it may fire, and nobody knows."""


@dataclass(frozen=True, slots=True)
class VmExits:
    """The exits of one VM since counting began.

    Attributes:
        exits: (reason, class) → exits.
        handling: class → time from exit to the next entry.
        stall: the same of all classes but hlt, where the guest had nothing to do.
        userspace: reason → exits to the VMM.
        msrs: (msr, direction) → accesses.
        hypercalls: hypercall → calls.
        interrupts: kind → events injected.
        halts: outcome → halts.
        halt_time: how long halts lasted.
    """

    exits: Mapping[tuple[str, str], int]
    handling: Mapping[str, Histogram]
    stall: Histogram
    userspace: Mapping[str, int]
    msrs: Mapping[tuple[str, str], int]
    hypercalls: Mapping[str, int]
    interrupts: Mapping[str, int]
    halts: Mapping[str, int]
    halt_time: Histogram


def vm_exits(isa: int, counters: Counters) -> VmExits:
    """Name the counters of one VM."""
    size = counters.count("handling") // len(EXIT_CLASSES)
    handling = {
        EXIT_CLASSES[place]: from_words(words) for place, words in counters.rows("handling", size)
    }
    return VmExits(
        exits=exits_by_reason(isa, counters),
        handling=handling,
        stall=_stall(handling, size - 1),
        userspace=_userspace(counters),
        msrs=_msrs(counters),
        hypercalls=_hypercalls(counters),
        interrupts=_named(INTERRUPT_KINDS, counters.nonzero("interrupts")),
        halts=_named(HALT_OUTCOMES, counters.nonzero("halts")),
        halt_time=from_words(counters["halt_time"]),
    )


def _stall(handling: Mapping[str, Histogram], buckets: int) -> Histogram:
    waited = [times for name, times in handling.items() if name != IDLE_CLASS]
    counts = zip(*(times.counts for times in waited), strict=True)
    return Histogram(
        tuple(map(sum, counts)) if waited else (0,) * buckets,
        sum(times.sum_ns for times in waited),
    )


def exits_by_reason(isa: int, counters: Counters) -> dict[tuple[str, str], int]:
    """(reason, class) → exits."""
    result: dict[tuple[str, str], int] = {}
    for slot, count in counters.nonzero("exits"):
        key = _exit_names(isa, slot)
        result[key] = result.get(key, 0) + count
    return result


@cache
def _exit_names(isa: int, slot: int) -> tuple[str, str]:
    """(reason, class) of a slot."""
    code = slot_code(isa, slot)
    if code is None:
        return "unknown", "other"
    return exit_reason(isa, code), exit_class(isa, code)


def _userspace(counters: Counters) -> dict[str, int]:
    exits = {
        userspace_exit_reason(code): count for code, count in counters.nonzero("userspace_exits")
    }
    for name in ("restart", "error"):  # what the kernel prints for a negative errno
        for _, count in counters.nonzero(f"userspace_{name}s"):
            exits[name] = count
    return exits


def _msrs(counters: Counters) -> dict[tuple[str, str], int]:
    return {_MSR_CELLS[cell]: count for cell, count in counters.nonzero("msrs")}


def _hypercalls(counters: Counters) -> dict[str, int]:
    return {
        "other" if nr == OTHER_HYPERCALL_SLOT else hypercall_name(nr): count
        for nr, count in counters.nonzero("hypercalls")
    }


def _named(names: tuple[str, ...], counted: Iterable[tuple[int, int]]) -> dict[str, int]:
    return {names[place]: count for place, count in counted}
