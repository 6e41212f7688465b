# SPDX-License-Identifier: Apache-2.0
"""What the loader child is asked for: sources, sizes, tables and programs.

The sizes of the C arrays are defined here and in `tables`, nowhere in the C, so
that both sides agree by construction.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kvmexporter.tables.exit_reasons import (
    ARM64_EXCEPTION_BASE,
    ARM64_EXCEPTION_HYP_GONE,
    ARM64_EXCEPTION_TRAP,
    ARM64_HYP_GONE_CODE,
    EXIT_CLASSES,
    EXIT_SLOTS,
    SVM_SLOT_RANGES,
    UNKNOWN_EXIT_SLOT,
    Isa,
    exit_class,
    slot_code,
)
from kvmexporter.tables.hypercalls import HYPERCALL_SLOTS
from kvmexporter.tables.msrs import MSR_SLOTS, MSRS
from kvmexporter.tables.userspace_exits import UNKNOWN_USERSPACE_EXIT_SLOT, USERSPACE_EXIT_SLOTS
from kvmexporter.units import NS_PER_SECOND

LOADER = Path(__file__).with_name("loader.py")

# Concatenated in this order into one translation unit.
SOURCES = tuple(
    Path(__file__).with_name(f"{name}.bpf.c")
    for name in ("vcpu", "records", "regions", "addresses", "io", "exits", "events", "time")
)

IO_SLOTS = 48
KICK_SLOTS = 64
HISTOGRAM_BUCKETS = 24
MAX_RETIRED = 4096
_NEAR_VCPUS_PER_PROCESSOR = 8
_MIN_NEAR_VCPUS, _MAX_NEAR_VCPUS = 64, 2048
MAX_REGIONS = 1_048_576
MAX_VMS = 4096
MAX_UNKNOWN_ADDRESSES = 1024
MAX_MET = 1024


@dataclass(frozen=True, slots=True)
class Program:
    """One BPF program and the tracepoint it attaches to.

    Attributes:
        event: the tracepoint; its function in the C is `on_` + event.
        kind: `raw` programs read the tracepoint's arguments, `classic` ones its record.
        category: the tracepoint's directory in tracefs.
        emulator_only: of use only where guests run in KVM's instruction emulator.
    """

    event: str
    kind: Literal["raw", "classic"] = "raw"
    category: str = "kvm"
    emulator_only: bool = False

    @property
    def function(self) -> str:
        """The program's name in the C."""
        return f"on_{self.event}"


PROGRAMS = (
    # First, so that no record of a thread that ends can be missed.
    Program("sched_process_exit", category="sched"),
    Program("kvm_entry"),
    Program("kvm_exit", kind="classic"),
    Program("kvm_userspace_exit"),
    Program("kvm_emulate_insn", emulator_only=True),
    Program("kvm_pio"),
    Program("kvm_mmio"),
    Program("kvm_fast_mmio"),
    Program("kvm_msr"),
    Program("kvm_hypercall"),
    Program("kvm_inj_virq"),
    Program("kvm_inj_exception"),
    Program("kvm_vcpu_wakeup"),
    Program("kvm_wait_lapic_expire"),
    Program("kvm_hv_timer_state"),
    Program("kvm_apic"),
    Program("kvm_update_master_clock"),
    Program("kvm_track_tsc"),
    Program("kvm_write_tsc_offset"),
    Program("kvm_pvclock_update", kind="classic"),
)

MAPS = (
    "near_vcpus",
    "near_owners",
    "vcpus",
    "retired",
    "met",
    "drops",
    "regions",
    "region_generations",
    "vm_indexes",
    "vm_epochs",
    "vm_confirmed",
    "unknown_addresses",
    "vm_clocks",
    "tsc_offsets",
)


def near_vcpus(processors: int) -> int:
    """How many records, of 20 KB each, are found without a hash map: a power of two.

    As many vCPUs as processors run at a time, and a host has a few times as many; with more
    places than that, few threads find theirs taken.
    """
    places = max(_MIN_NEAR_VCPUS, _NEAR_VCPUS_PER_PROCESSOR * processors)
    return 1 << min(places - 1, _MAX_NEAR_VCPUS - 1).bit_length()


def tsc_scale(hz: int | None) -> int:
    """Nanoseconds a cycle with 24 fractional bits, as the C multiplies; 0 if not known."""
    return (NS_PER_SECOND << 24) // hz if hz else 0


def defines(max_vcpus: int) -> dict[str, str]:
    """The macros that the C is compiled with: name → text."""
    ranges = " ".join(f"RANGE({code}u,{slot},{count}u)" for code, slot, count in SVM_SLOT_RANGES)
    sizes = {
        "MAX_VCPUS": max_vcpus,
        "NEAR_VCPUS": near_vcpus(os.cpu_count() or 1),
        "MAX_RETIRED": MAX_RETIRED,
        "MAX_REGIONS": MAX_REGIONS,
        "MAX_VMS": MAX_VMS,
        "MAX_MET": MAX_MET,
        "MAX_UNKNOWN": MAX_UNKNOWN_ADDRESSES,
        "EXIT_SLOTS": EXIT_SLOTS,
        "UNKNOWN_EXIT_SLOT": UNKNOWN_EXIT_SLOT,
        "EXIT_CLASSES": len(EXIT_CLASSES),
        "ARM64_EXCEPTION_TRAP": ARM64_EXCEPTION_TRAP,
        "ARM64_EXCEPTION_BASE": ARM64_EXCEPTION_BASE,
        "ARM64_EXCEPTION_HYP_GONE": ARM64_EXCEPTION_HYP_GONE,
        "ARM64_HYP_GONE_CODE": ARM64_HYP_GONE_CODE,
        "USERSPACE_EXIT_SLOTS": USERSPACE_EXIT_SLOTS,
        "UNKNOWN_USERSPACE_EXIT_SLOT": UNKNOWN_USERSPACE_EXIT_SLOT,
        "IO_SLOTS": IO_SLOTS,
        "KICK_SLOTS": KICK_SLOTS,
        "HISTOGRAM_BUCKETS": HISTOGRAM_BUCKETS,
        "MSR_SLOTS": MSR_SLOTS,
        "HYPERCALL_SLOTS": HYPERCALL_SLOTS,
    }
    msrs = " ".join(f"MSR({msr.index}u,{slot})" for slot, msr in enumerate(MSRS))
    texts = {"SVM_SLOT_RANGES": ranges, "MSRS": msrs}
    return texts | {name: str(value) for name, value in sizes.items()}


def tables(tsc_hz: int | None = None) -> dict[str, dict[int, int]]:
    """What the maps of constants hold: map → key → value."""
    classes = {}
    for isa in Isa:
        for slot in range(EXIT_SLOTS):
            code = slot_code(isa, slot)
            name = "other" if code is None else exit_class(isa, code)
            classes[isa * EXIT_SLOTS + slot] = EXIT_CLASSES.index(name)
    return {
        "exit_classes": classes,
        "host_tsc_scale": {0: tsc_scale(tsc_hz)},
    }


def request(
    programs: tuple[Program, ...],
    max_vcpus: int,
    kernel_headers: str | None,
    tsc_hz: int | None = None,
) -> Mapping[str, Any]:
    """The message for the loader child; `loader.py` documents its form."""
    return {
        "sources": [str(path) for path in SOURCES],
        "defines": defines(max_vcpus),
        "kernel_headers": kernel_headers,
        "maps": MAPS,
        "tables": tables(tsc_hz),
        "programs": [
            {
                "function": program.function,
                "kind": program.kind,
                "category": program.category,
                "event": program.event,
            }
            for program in programs
        ],
    }
