# SPDX-License-Identifier: Apache-2.0
"""Exit reasons: the names, their classes, and the slots that the BPF side counts in."""

import re

import pytest

from kvmexporter.tables.exit_reasons import (
    ARM64_EXCEPTION_HYP_GONE,
    ARM64_EXCEPTION_TRAP,
    EXIT_CLASS_HELP,
    EXIT_CLASSES,
    EXIT_REASONS,
    EXIT_SLOTS,
    SVM_SLOT_RANGES,
    UNKNOWN_EXIT_SLOT,
    Isa,
    arm64_exit_code,
    exit_class,
    exit_reason,
    exit_slot,
    slot_code,
)

SEXT_MINUS_ONE = 0xFFFFFFFFFFFFFFFF


@pytest.mark.parametrize(
    ("isa", "code", "name", "class_", "slot"),
    [
        (Isa.VMX, 0, "EXCEPTION_NMI", "exception", 0),
        (Isa.VMX, 1, "EXTERNAL_INTERRUPT", "interrupt", 1),
        (Isa.VMX, 6, "OTHER_SMI", "interrupt", 6),
        (Isa.VMX, 10, "CPUID", "cpuid", 10),
        (Isa.VMX, 12, "HLT", "hlt", 12),
        (Isa.VMX, 18, "VMCALL", "hypercall", 18),
        (Isa.VMX, 30, "IO_INSTRUCTION", "io", 30),
        (Isa.VMX, 32, "MSR_WRITE", "msr", 32),
        (Isa.VMX, 48, "EPT_VIOLATION", "page_fault", 48),
        (Isa.VMX, 49, "EPT_MISCONFIG", "mmio", 49),
        (Isa.VMX, 52, "PREEMPTION_TIMER", "timer", 52),
        (Isa.VMX, 56, "APIC_WRITE", "apic", 56),
        (Isa.VMX, 76, "SEAMCALL", "hypercall", 76),
        (Isa.VMX, 85, "MSR_WRITE_IMM", "msr", 85),
        (Isa.VMX, 5, "unknown:5", "other", 5),
        (Isa.VMX, 254, "unknown:254", "other", 254),
        (Isa.VMX, 255, "unknown:255", "other", UNKNOWN_EXIT_SLOT),
        (Isa.VMX, 0xFFFF, "unknown:65535", "other", UNKNOWN_EXIT_SLOT),
        (Isa.VMX, -1, "unknown:-1", "other", UNKNOWN_EXIT_SLOT),
        (Isa.SVM, 0x000, "read_cr0", "other", 0x00),
        (Isa.SVM, 0x040, "DE excp", "exception", 0x40),
        (Isa.SVM, 0x04E, "PF excp", "exception", 0x4E),
        (Isa.SVM, 0x060, "interrupt", "interrupt", 0x60),
        (Isa.SVM, 0x064, "vintr", "interrupt", 0x64),
        (Isa.SVM, 0x06E, "rdtsc", "timer", 0x6E),
        (Isa.SVM, 0x072, "cpuid", "cpuid", 0x72),
        (Isa.SVM, 0x078, "hlt", "hlt", 0x78),
        (Isa.SVM, 0x07B, "io", "io", 0x7B),
        (Isa.SVM, 0x07C, "msr", "msr", 0x7C),
        (Isa.SVM, 0x081, "hypercall", "hypercall", 0x81),
        (Isa.SVM, 0x091, "write_cr1_trap", "other", 0x91),
        (Isa.SVM, 0x0A6, "idle-halt", "hlt", 0xA6),
        (Isa.SVM, 0x0BB, "unknown:187", "other", UNKNOWN_EXIT_SLOT),
        (Isa.SVM, 0x400, "npf", "page_fault", 0xC0),
        (Isa.SVM, 0x402, "avic_unaccelerated_access", "apic", 0xC2),
        (Isa.SVM, 0x41F, "unknown:1055", "other", 0xDF),
        (Isa.SVM, 0x420, "unknown:1056", "other", UNKNOWN_EXIT_SLOT),
        (Isa.SVM, 0x80000001, "vmgexit_mmio_read", "mmio", 0xE1),
        (Isa.SVM, 0x8000001E, "unknown:2147483678", "other", 0xFE),
        (Isa.SVM, 0x8000001F, "unknown:2147483679", "other", UNKNOWN_EXIT_SLOT),
        (Isa.SVM, 0x8000FFFD, "vmgexit_hypervisor_feature", "hypercall", 0xBB),
        (Isa.SVM, 0x8000FFFF, "vmgexit_unsupported_event", "hypercall", 0xBD),
        (Isa.SVM, 0xF0000000, "sw", "other", 0xBE),
        (Isa.SVM, 0xFFFFFFFF, "invalid_guest_state", "other", 0xBF),
        (Isa.SVM, -1, "invalid_guest_state", "other", 0xBF),
        (Isa.SVM, SEXT_MINUS_ONE, "invalid_guest_state", "other", 0xBF),
        (Isa.SVM, 0xFFFFFFFE, "unknown:4294967294", "other", UNKNOWN_EXIT_SLOT),
        (Isa.ARM64, 0x01, "WFx", "hlt", 1),
        (Isa.ARM64, 0x16, "HVC64", "hypercall", 22),
        (Isa.ARM64, 0x18, "SYS64", "msr", 24),
        (Isa.ARM64, 0x24, "DABT_LOW", "page_fault", 36),
        (Isa.ARM64, 0x2F, "SERROR", "exception", 47),
        (Isa.ARM64, 64, "IRQ", "interrupt", 64),
        (Isa.ARM64, 65, "EL1_SERROR", "exception", 65),
        (Isa.ARM64, 66, "TRAP", "other", 66),
        (Isa.ARM64, 67, "IL", "exception", 67),
        (Isa.ARM64, 127, "HYP_GONE", "other", 127),
        (Isa.ARM64, 63, "unknown:63", "other", 63),
        (0, 30, "unknown:30", "other", UNKNOWN_EXIT_SLOT),
        (4, 30, "unknown:30", "other", UNKNOWN_EXIT_SLOT),
    ],
)
def test_a_code_has_its_name_class_and_slot(
    isa: int, code: int, name: str, class_: str, slot: int
) -> None:
    """A code yields the kernel's name, its class and its counter; an unknown one stays visible."""
    assert exit_reason(isa, code) == name
    assert exit_class(isa, code) == class_
    assert exit_slot(isa, code) == slot


@pytest.mark.parametrize("isa", Isa)
def test_every_named_code_has_a_slot_of_its_own(isa: Isa) -> None:
    """No two reasons share a counter, none is counted as unknown, and the slot leads back."""
    slots = [exit_slot(isa, reason.code) for reason in EXIT_REASONS[isa]]
    assert UNKNOWN_EXIT_SLOT not in slots
    assert len(set(slots)) == len(slots)
    assert [slot_code(isa, slot) for slot in slots] == [r.code for r in EXIT_REASONS[isa]]


@pytest.mark.parametrize("isa", Isa)
def test_every_slot_but_the_unknown_one_leads_to_a_code_and_back(isa: Isa) -> None:
    """All 255 slots stand for exactly one code each."""
    codes = [slot_code(isa, slot) for slot in range(UNKNOWN_EXIT_SLOT)]
    known = [code for code in codes if code is not None]
    assert len(set(known)) == UNKNOWN_EXIT_SLOT
    assert [exit_slot(isa, code) for code in known] == list(range(UNKNOWN_EXIT_SLOT))


@pytest.mark.parametrize(
    ("isa", "slot"),
    [(isa, slot) for isa in Isa for slot in (-1, UNKNOWN_EXIT_SLOT, EXIT_SLOTS)] + [(0, 1), (4, 1)],
)
def test_what_counts_no_code_leads_to_none(isa: int, slot: int) -> None:
    """The unknown slot, what is no slot, and an ISA we do not know have no code."""
    assert slot_code(isa, slot) is None


def test_svm_slot_ranges_cover_the_slots_once() -> None:
    """The ranges the BPF side is given neither overlap nor leave a slot unused."""
    slots = [first + n for _, first, count in SVM_SLOT_RANGES for n in range(count)]
    assert sorted(slots) == list(range(UNKNOWN_EXIT_SLOT))
    codes = [first + n for first, _, count in SVM_SLOT_RANGES for n in range(count)]
    assert len(set(codes)) == len(codes)
    assert max(codes) == 0xFFFFFFFF


@pytest.mark.parametrize("isa", Isa)
def test_names_are_unique_and_fit_a_label(isa: Isa) -> None:
    """A name stands for one reason, is short, printable, and of a known class."""
    reasons = EXIT_REASONS[isa]
    names = [reason.name for reason in reasons]
    assert len(set(names)) == len(names)
    assert [name for name in names if not re.fullmatch(r"[A-Za-z][\w -]{1,31}", name)] == []
    assert {reason.exit_class for reason in reasons} <= set(EXIT_CLASSES)
    assert [reason.code for reason in reasons] == sorted({reason.code for reason in reasons})


def test_classes_are_few_and_explained() -> None:
    """There are at most twelve classes, each used, each said in one sentence, `other` last."""
    assert len(EXIT_CLASSES) <= 12
    assert tuple(EXIT_CLASS_HELP) == EXIT_CLASSES
    assert EXIT_CLASSES[-1] == "other"
    assert {r.exit_class for reasons in EXIT_REASONS.values() for r in reasons} == set(EXIT_CLASSES)
    for class_, sentence in EXIT_CLASS_HELP.items():
        assert re.fullmatch(r"[a-z_]+", class_)
        assert re.fullmatch(r"[A-Z][^\n]+\.", sentence)


@pytest.mark.parametrize(
    ("ret", "esr_ec", "name"),
    [
        (0, 0, "IRQ"),
        (0, 0x24, "IRQ"),
        (1, 0, "EL1_SERROR"),
        (3, 0, "IL"),
        (ARM64_EXCEPTION_TRAP, 0x24, "DABT_LOW"),
        (ARM64_EXCEPTION_TRAP, 0x00, "UNKNOWN"),
        (ARM64_EXCEPTION_TRAP | 1 << 31, 0x16, "HVC64"),
        (-(1 << 31) + ARM64_EXCEPTION_TRAP, 0x16, "HVC64"),
        (ARM64_EXCEPTION_TRAP, 64, "unknown:255"),
        (ARM64_EXCEPTION_HYP_GONE, 0, "HYP_GONE"),
        (4, 0, "unknown:68"),
        (62, 0, "unknown:126"),
        (63, 0, "unknown:255"),
        (0x7FFFFFFF, 0, "unknown:255"),
    ],
)
def test_arm64_fields_fold_into_one_code(ret: int, esr_ec: int, name: str) -> None:
    """A trap is named by its exception class, any other exit by `ret`, never by both."""
    assert exit_reason(Isa.ARM64, arm64_exit_code(ret, esr_ec)) == name
