# SPDX-License-Identifier: Apache-2.0
"""Raw counters of a vCPU become named exits."""

from kvmexporter.bpf.request import HISTOGRAM_BUCKETS
from kvmexporter.model.exits import (
    DIRECTIONS,
    HALT_OUTCOMES,
    INTERRUPT_KINDS,
    exits_by_reason,
    vm_exits,
)
from kvmexporter.model.histogram import Histogram
from kvmexporter.tables.exit_reasons import EXIT_CLASSES, UNKNOWN_EXIT_SLOT, Isa, exit_slot
from kvmexporter.tables.hypercalls import OTHER_HYPERCALL_SLOT
from kvmexporter.tables.msrs import OTHER_MSR_SLOT, msr_slot
from kvmexporter.tables.userspace_exits import UNKNOWN_USERSPACE_EXIT_SLOT
from tests.unit.vcpu_records import counters, enumerators

NO_TIMES = Histogram((0,) * HISTOGRAM_BUCKETS, 0)
WORDS = HISTOGRAM_BUCKETS + 1


def test_nothing_counted() -> None:
    """Zeros make no series."""
    exits = vm_exits(Isa.VMX, counters())
    assert not exits.exits
    assert not exits.handling
    assert not exits.userspace
    assert not exits.msrs
    assert not exits.hypercalls
    assert not exits.interrupts
    assert not exits.halts
    assert exits.halt_time == NO_TIMES


def test_reasons_are_those_of_the_isa() -> None:
    """One slot is another reason on another processor."""
    hlt = {exit_slot(Isa.VMX, 12): 3}
    assert exits_by_reason(Isa.VMX, counters(exits=hlt)) == {("HLT", "hlt"): 3}
    npf = {exit_slot(Isa.SVM, 0x400): 5}
    assert exits_by_reason(Isa.SVM, counters(exits=npf)) == {("npf", "page_fault"): 5}
    wfx = {exit_slot(Isa.ARM64, 1): 7}
    assert exits_by_reason(Isa.ARM64, counters(exits=wfx)) == {("WFx", "hlt"): 7}


def test_unknown_reasons_stay_visible() -> None:
    """A code without a name is told by its number, one without a slot as unknown."""
    exits = counters(exits={200: 2, UNKNOWN_EXIT_SLOT: 3})
    assert exits_by_reason(Isa.VMX, exits) == {
        ("unknown:200", "other"): 2,
        ("unknown", "other"): 3,
    }
    assert exits_by_reason(0, exits) == {("unknown", "other"): 5}


def test_handling_by_class() -> None:
    """Each class has its own distribution; those without an observation are left out."""
    first, last = 0, len(EXIT_CLASSES) - 1
    handling = {first * WORDS + 2: 5, first * WORDS + WORDS - 1: 9000}
    handling |= {last * WORDS + 23: 7, last * WORDS + WORDS - 1: 11}
    times = vm_exits(Isa.VMX, counters(handling=handling)).handling
    assert set(times) == {EXIT_CLASSES[first], EXIT_CLASSES[last]}
    assert times[EXIT_CLASSES[first]] == Histogram((0, 0, 5, *[0] * 21), 9000)
    assert times[EXIT_CLASSES[last]] == Histogram((*[0] * 23, 7), 11)


def test_userspace_exits() -> None:
    """Reasons by name, unknown ones by number, and what ended without one."""
    exits = vm_exits(
        Isa.VMX,
        counters(
            userspace_exits={2: 11, 6: 13, 60: 2, UNKNOWN_USERSPACE_EXIT_SLOT: 3},
            userspace_restarts={0: 17},
            userspace_errors={0: 19},
        ),
    )
    assert exits.userspace == {
        "IO": 11,
        "MMIO": 13,
        "unknown:60": 2,
        f"unknown:{UNKNOWN_USERSPACE_EXIT_SLOT}": 3,
        "restart": 17,
        "error": 19,
    }


def test_msrs() -> None:
    """By name and direction; what is not in the table is `other`."""
    tsc = msr_slot(0x10)
    exits = vm_exits(Isa.VMX, counters(msrs={0: 2, 1: 3, tsc * 2 + 1: 5, OTHER_MSR_SLOT * 2: 7}))
    assert exits.msrs == {
        ("tsc_deadline", "read"): 2,
        ("tsc_deadline", "write"): 3,
        ("tsc", "write"): 5,
        ("other", "read"): 7,
    }


def test_hypercalls() -> None:
    """By name, a number without one by its number, the rest as `other`."""
    exits = vm_exits(Isa.VMX, counters(hypercalls={5: 2, 14: 3, OTHER_HYPERCALL_SLOT: 5}))
    assert exits.hypercalls == {"kick_cpu": 2, "unknown:14": 3, "other": 5}


def test_interrupts_and_halts() -> None:
    """By kind and outcome."""
    exits = vm_exits(
        Isa.VMX,
        counters(
            interrupts={0: 2, 1: 3, 2: 5, 3: 7},
            halts={0: 11, 1: 13, 2: 17},
            halt_time={0: 41, WORDS - 1: 43},
        ),
    )
    assert exits.interrupts == {"external": 2, "software": 3, "reinjected": 5, "exception": 7}
    assert exits.halts == {"poll": 11, "wait": 13, "invalid": 17}
    assert exits.halt_time == Histogram((41, *[0] * 23), 43)


def test_the_names_are_in_the_order_of_the_c() -> None:
    """What the C enumerates is named here in the same order."""
    c = enumerators()
    assert tuple(f"IO_{name.upper()}" for name in DIRECTIONS) == c["io_direction"]
    kinds = tuple(f"INTERRUPT_{name.upper()}" for name in INTERRUPT_KINDS)
    assert (*kinds, "INTERRUPT_KINDS") == c["interrupt_kind"]
    outcomes = tuple(f"HALT_{name.upper()}" for name in HALT_OUTCOMES)
    assert (*outcomes, "HALT_OUTCOMES") == c["halt_outcome"]
