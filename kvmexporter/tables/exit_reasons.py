# SPDX-License-Identifier: Apache-2.0
"""Exit reasons of `kvm_exit` on VMX, SVM and arm64: names, classes, dense slots.

Sources, complete to Linux 7.2: VMX `EXIT_REASON_*` from arch/x86/include/uapi/asm/vmx.h; SVM
`SVM_EXIT_*` and `SVM_VMGEXIT_*` from arch/x86/include/uapi/asm/svm.h with the vectors of
uapi/asm/kvm.h; arm64 `ESR_ELx_EC_*` from arch/arm64/include/asm/esr.h and `ARM_EXCEPTION_*` from
kvm_asm.h. A name is what the tracepoint's own format prints; a code that the headers define and
the format does not print has its macro's name in the same style. Between 6.1 and 7.2 no printed
name changed, they were only added to.

A vCPU's exits are counted in one array of `EXIT_SLOTS` counters. `exit_slot` is the reference for
what the BPF side computes: the code itself where codes are small, a few ranges on SVM.
"""

import enum
from dataclasses import dataclass
from typing import Final


class Isa(enum.IntEnum):
    """Which table of exit reasons an exit belongs to.

    VMX and SVM are the values that the `isa` field of `kvm_exit` carries (`KVM_ISA_VMX`,
    `KVM_ISA_SVM` of arch/x86/kvm/trace.h). ARM64 is ours: arm64's tracepoint has no such field.
    """

    VMX = 1
    SVM = 2
    ARM64 = 3


@dataclass(frozen=True, slots=True)
class ExitReason:
    """One exit reason: its code, the name the kernel prints, and its class."""

    code: int
    name: str
    exit_class: str


EXIT_CLASS_HELP: Final[dict[str, str]] = {
    "io": "Port I/O: an IN or OUT instruction (x86 only).",
    "mmio": (
        "Access to emulated memory-mapped I/O that hardware tells apart from a page fault: VMX "
        "EPT_MISCONFIG and SEV-ES MMIO requests; on AMD (npf) and on arm64 (DABT_LOW) emulated "
        "MMIO is counted in page_fault."
    ),
    "page_fault": (
        "The second-level page tables had no usable entry: guest memory to be mapped or "
        "write-tracked, and on AMD and arm64 also emulated MMIO."
    ),
    "msr": "Access to a model-specific register, or to a trapped arm64 system register.",
    "hlt": "The guest had nothing to do and gave up its CPU (HLT, arm64 WFI and WFE): idle time.",
    "cpuid": "The CPUID instruction (x86 only).",
    "interrupt": (
        "An interrupt for the host arrived (NMI, SMI and INIT too), or the guest became ready to "
        "take an interrupt that was waiting."
    ),
    "apic": "Local APIC: an access that hardware did not finish by itself, TPR and CR8, AVIC.",
    "timer": "Time: the VMX preemption timer that stands in for the guest's, or a trapped RDTSC.",
    "hypercall": "The guest asked the hypervisor for a service (VMCALL, VMMCALL, HVC, SMC).",
    "exception": (
        "The guest raised an exception that KVM intercepts; on VMX an NMI for the host shares "
        "the reason (EXCEPTION_NMI)."
    ),
    "other": "Everything else, unknown reasons included: control registers, PAUSE, nesting, ...",
}
"""Class name → one sentence about it; the order is the order of presentation."""

EXIT_CLASSES: Final[tuple[str, ...]] = tuple(EXIT_CLASS_HELP)

EXIT_SLOTS: Final = 256
"""Counters a vCPU has for exits by reason."""

UNKNOWN_EXIT_SLOT: Final = 255
"""Counts every exit whose code has no slot of its own."""

SVM_SLOT_RANGES: Final[tuple[tuple[int, int, int], ...]] = (
    (0x000, 0x00, 0xBB),
    (0x400, 0xC0, 0x20),
    (0x80000000, 0xE0, 0x1F),
    (0x8000FFFD, 0xBB, 3),
    (0xF0000000, 0xBE, 1),
    (0xFFFFFFFF, 0xBF, 1),
)
"""(first code, first slot, count), frequent ranges first; codes are 32 bits wide.

Intercepts (the highest known is 0xa6), nested paging and AVIC, the guest's VMGEXIT events, the
last three of those (HV_FEATURES, TERM_REQUEST, UNSUPPORTED_EVENT), the software's own code, and
SVM_EXIT_ERR, which is -1. Together they cover every slot but UNKNOWN_EXIT_SLOT once.
"""

ARM64_EXCEPTION_TRAP: Final = 2
"""`ARM_EXCEPTION_TRAP`: the value of `ret` for which `esr_ec` says why."""

ARM64_EXCEPTION_HYP_GONE: Final = 0xBADCA11
"""`ARM_EXCEPTION_HYP_GONE`: the vCPU was to run after the hypervisor had been taken down."""

ARM64_EXCEPTION_BASE: Final = 64
"""First code of exits that are no trap; exception classes are 6 bits and come before it."""

ARM64_HYP_GONE_CODE: Final = 127
"""The code of ARM_EXCEPTION_HYP_GONE, too large a number to be added to the base."""

_VMX: Final = (
    (0, "EXCEPTION_NMI", "exception"),
    (1, "EXTERNAL_INTERRUPT", "interrupt"),
    (2, "TRIPLE_FAULT", "other"),
    (3, "INIT_SIGNAL", "interrupt"),
    (4, "SIPI_SIGNAL", "interrupt"),
    (6, "OTHER_SMI", "interrupt"),
    (7, "INTERRUPT_WINDOW", "interrupt"),
    (8, "NMI_WINDOW", "interrupt"),
    (9, "TASK_SWITCH", "other"),
    (10, "CPUID", "cpuid"),
    (12, "HLT", "hlt"),
    (13, "INVD", "other"),
    (14, "INVLPG", "other"),
    (15, "RDPMC", "other"),
    (16, "RDTSC", "timer"),
    (18, "VMCALL", "hypercall"),
    (19, "VMCLEAR", "other"),
    (20, "VMLAUNCH", "other"),
    (21, "VMPTRLD", "other"),
    (22, "VMPTRST", "other"),
    (23, "VMREAD", "other"),
    (24, "VMRESUME", "other"),
    (25, "VMWRITE", "other"),
    (26, "VMOFF", "other"),
    (27, "VMON", "other"),
    (28, "CR_ACCESS", "other"),
    (29, "DR_ACCESS", "other"),
    (30, "IO_INSTRUCTION", "io"),
    (31, "MSR_READ", "msr"),
    (32, "MSR_WRITE", "msr"),
    (33, "INVALID_STATE", "other"),
    (34, "MSR_LOAD_FAIL", "other"),
    (36, "MWAIT_INSTRUCTION", "other"),
    (37, "MONITOR_TRAP_FLAG", "other"),
    (39, "MONITOR_INSTRUCTION", "other"),
    (40, "PAUSE_INSTRUCTION", "other"),
    (41, "MCE_DURING_VMENTRY", "other"),
    (43, "TPR_BELOW_THRESHOLD", "apic"),
    (44, "APIC_ACCESS", "apic"),
    (45, "EOI_INDUCED", "apic"),
    (46, "GDTR_IDTR", "other"),
    (47, "LDTR_TR", "other"),
    (48, "EPT_VIOLATION", "page_fault"),
    (49, "EPT_MISCONFIG", "mmio"),
    (50, "INVEPT", "other"),
    (51, "RDTSCP", "timer"),
    (52, "PREEMPTION_TIMER", "timer"),
    (53, "INVVPID", "other"),
    (54, "WBINVD", "other"),
    (55, "XSETBV", "other"),
    (56, "APIC_WRITE", "apic"),
    (57, "RDRAND", "other"),
    (58, "INVPCID", "other"),
    (59, "VMFUNC", "other"),
    (60, "ENCLS", "other"),
    (61, "RDSEED", "other"),
    (62, "PML_FULL", "other"),
    (63, "XSAVES", "other"),
    (64, "XRSTORS", "other"),
    (67, "UMWAIT", "other"),
    (68, "TPAUSE", "other"),
    (74, "BUS_LOCK", "other"),
    (75, "NOTIFY", "other"),
    (76, "SEAMCALL", "hypercall"),
    (77, "TDCALL", "hypercall"),
    (84, "MSR_READ_IMM", "msr"),
    (85, "MSR_WRITE_IMM", "msr"),
)

_SVM: Final = (
    (0x000, "read_cr0", "other"),
    (0x002, "read_cr2", "other"),
    (0x003, "read_cr3", "other"),
    (0x004, "read_cr4", "other"),
    (0x008, "read_cr8", "apic"),
    (0x010, "write_cr0", "other"),
    (0x012, "write_cr2", "other"),
    (0x013, "write_cr3", "other"),
    (0x014, "write_cr4", "other"),
    (0x018, "write_cr8", "apic"),
    (0x020, "read_dr0", "other"),
    (0x021, "read_dr1", "other"),
    (0x022, "read_dr2", "other"),
    (0x023, "read_dr3", "other"),
    (0x024, "read_dr4", "other"),
    (0x025, "read_dr5", "other"),
    (0x026, "read_dr6", "other"),
    (0x027, "read_dr7", "other"),
    (0x030, "write_dr0", "other"),
    (0x031, "write_dr1", "other"),
    (0x032, "write_dr2", "other"),
    (0x033, "write_dr3", "other"),
    (0x034, "write_dr4", "other"),
    (0x035, "write_dr5", "other"),
    (0x036, "write_dr6", "other"),
    (0x037, "write_dr7", "other"),
    (0x040, "DE excp", "exception"),
    (0x041, "DB excp", "exception"),
    (0x043, "BP excp", "exception"),
    (0x044, "OF excp", "exception"),
    (0x045, "BR excp", "exception"),
    (0x046, "UD excp", "exception"),
    (0x047, "NM excp", "exception"),
    (0x048, "DF excp", "exception"),
    (0x04A, "TS excp", "exception"),
    (0x04B, "NP excp", "exception"),
    (0x04C, "SS excp", "exception"),
    (0x04D, "GP excp", "exception"),
    (0x04E, "PF excp", "exception"),
    (0x050, "MF excp", "exception"),
    (0x051, "AC excp", "exception"),
    (0x052, "MC excp", "exception"),
    (0x053, "XF excp", "exception"),
    (0x054, "VE excp", "exception"),
    (0x055, "CP excp", "exception"),
    (0x05C, "HV excp", "exception"),
    (0x05D, "VC excp", "exception"),
    (0x05E, "SX excp", "exception"),
    (0x060, "interrupt", "interrupt"),
    (0x061, "nmi", "interrupt"),
    (0x062, "smi", "interrupt"),
    (0x063, "init", "interrupt"),
    (0x064, "vintr", "interrupt"),
    (0x065, "cr0_sel_write", "other"),
    (0x066, "read_idtr", "other"),
    (0x067, "read_gdtr", "other"),
    (0x068, "read_ldtr", "other"),
    (0x069, "read_rt", "other"),
    (0x06A, "write_idtr", "other"),
    (0x06B, "write_gdtr", "other"),
    (0x06C, "write_ldtr", "other"),
    (0x06D, "write_rt", "other"),
    (0x06E, "rdtsc", "timer"),
    (0x06F, "rdpmc", "other"),
    (0x070, "pushf", "other"),
    (0x071, "popf", "other"),
    (0x072, "cpuid", "cpuid"),
    (0x073, "rsm", "other"),
    (0x074, "iret", "interrupt"),
    (0x075, "swint", "exception"),
    (0x076, "invd", "other"),
    (0x077, "pause", "other"),
    (0x078, "hlt", "hlt"),
    (0x079, "invlpg", "other"),
    (0x07A, "invlpga", "other"),
    (0x07B, "io", "io"),
    (0x07C, "msr", "msr"),
    (0x07D, "task_switch", "other"),
    (0x07E, "ferr_freeze", "other"),
    (0x07F, "shutdown", "other"),
    (0x080, "vmrun", "other"),
    (0x081, "hypercall", "hypercall"),
    (0x082, "vmload", "other"),
    (0x083, "vmsave", "other"),
    (0x084, "stgi", "other"),
    (0x085, "clgi", "other"),
    (0x086, "skinit", "other"),
    (0x087, "rdtscp", "timer"),
    (0x088, "icebp", "exception"),
    (0x089, "wbinvd", "other"),
    (0x08A, "monitor", "other"),
    (0x08B, "mwait", "other"),
    (0x08C, "mwait_cond", "other"),
    (0x08D, "xsetbv", "other"),
    (0x08E, "rdpru", "other"),
    (0x08F, "write_efer_trap", "msr"),
    (0x090, "write_cr0_trap", "other"),
    (0x091, "write_cr1_trap", "other"),
    (0x092, "write_cr2_trap", "other"),
    (0x093, "write_cr3_trap", "other"),
    (0x094, "write_cr4_trap", "other"),
    (0x095, "write_cr5_trap", "other"),
    (0x096, "write_cr6_trap", "other"),
    (0x097, "write_cr7_trap", "other"),
    (0x098, "write_cr8_trap", "apic"),
    (0x099, "write_cr9_trap", "other"),
    (0x09A, "write_cr10_trap", "other"),
    (0x09B, "write_cr11_trap", "other"),
    (0x09C, "write_cr12_trap", "other"),
    (0x09D, "write_cr13_trap", "other"),
    (0x09E, "write_cr14_trap", "other"),
    (0x09F, "write_cr15_trap", "other"),
    (0x0A2, "invpcid", "other"),
    (0x0A5, "buslock", "other"),
    (0x0A6, "idle-halt", "hlt"),
    (0x400, "npf", "page_fault"),
    (0x401, "avic_incomplete_ipi", "apic"),
    (0x402, "avic_unaccelerated_access", "apic"),
    (0x403, "vmgexit", "other"),
    (0x80000001, "vmgexit_mmio_read", "mmio"),
    (0x80000002, "vmgexit_mmio_write", "mmio"),
    (0x80000003, "vmgexit_nmi_complete", "interrupt"),
    (0x80000004, "vmgexit_ap_hlt_loop", "hlt"),
    (0x80000005, "vmgexit_ap_jump_table", "hypercall"),
    (0x80000010, "vmgexit_page_state_change", "hypercall"),
    (0x80000011, "vmgexit_guest_request", "hypercall"),
    (0x80000012, "vmgexit_ext_guest_request", "hypercall"),
    (0x80000013, "vmgexit_ap_creation", "hypercall"),
    (0x80000018, "vmgexit_snp_run_vmpl", "hypercall"),
    (0x8000001A, "vmgexit_savic", "apic"),
    (0x8000FFFD, "vmgexit_hypervisor_feature", "hypercall"),
    (0x8000FFFE, "vmgexit_term_request", "hypercall"),
    (0x8000FFFF, "vmgexit_unsupported_event", "hypercall"),
    (0xF0000000, "sw", "other"),
    (0xFFFFFFFF, "invalid_guest_state", "other"),
)

_ARM64: Final = (
    (0x00, "UNKNOWN", "exception"),
    (0x01, "WFx", "hlt"),
    (0x03, "CP15_32", "msr"),
    (0x04, "CP15_64", "msr"),
    (0x05, "CP14_MR", "msr"),
    (0x06, "CP14_LS", "msr"),
    (0x07, "FP_ASIMD", "other"),
    (0x08, "CP10_ID", "msr"),
    (0x09, "PAC", "other"),
    (0x0A, "OTHER", "other"),
    (0x0C, "CP14_64", "msr"),
    (0x0D, "BTI", "exception"),
    (0x0E, "ILL", "exception"),
    (0x11, "SVC32", "exception"),
    (0x12, "HVC32", "hypercall"),
    (0x13, "SMC32", "hypercall"),
    (0x15, "SVC64", "exception"),
    (0x16, "HVC64", "hypercall"),
    (0x17, "SMC64", "hypercall"),
    (0x18, "SYS64", "msr"),
    (0x19, "SVE", "other"),
    (0x1A, "ERET", "other"),
    (0x1C, "FPAC", "exception"),
    (0x1D, "SME", "other"),
    (0x1F, "IMP_DEF", "other"),
    (0x20, "IABT_LOW", "page_fault"),
    (0x21, "IABT_CUR", "exception"),
    (0x22, "PC_ALIGN", "exception"),
    (0x24, "DABT_LOW", "page_fault"),
    (0x25, "DABT_CUR", "exception"),
    (0x26, "SP_ALIGN", "exception"),
    (0x27, "MOPS", "other"),
    (0x28, "FP_EXC32", "exception"),
    (0x2C, "FP_EXC64", "exception"),
    (0x2D, "GCS", "exception"),
    (0x2F, "SERROR", "exception"),
    (0x30, "BREAKPT_LOW", "exception"),
    (0x31, "BREAKPT_CUR", "exception"),
    (0x32, "SOFTSTP_LOW", "exception"),
    (0x33, "SOFTSTP_CUR", "exception"),
    (0x34, "WATCHPT_LOW", "exception"),
    (0x35, "WATCHPT_CUR", "exception"),
    (0x38, "BKPT32", "exception"),
    (0x3A, "VECTOR32", "exception"),
    (0x3C, "BRK64", "exception"),
    # The kernel prints SERROR for EL1_SERROR and for exception class 0x2f alike: two reasons with
    # one label would be one series twice, so EL1_SERROR has its macro's name here.
    (ARM64_EXCEPTION_BASE + 0, "IRQ", "interrupt"),
    (ARM64_EXCEPTION_BASE + 1, "EL1_SERROR", "exception"),
    (ARM64_EXCEPTION_BASE + ARM64_EXCEPTION_TRAP, "TRAP", "other"),
    (ARM64_EXCEPTION_BASE + 3, "IL", "exception"),
    (ARM64_HYP_GONE_CODE, "HYP_GONE", "other"),
)

EXIT_REASONS: Final[dict[Isa, tuple[ExitReason, ...]]] = {
    Isa.VMX: tuple(ExitReason(*row) for row in _VMX),
    Isa.SVM: tuple(ExitReason(*row) for row in _SVM),
    Isa.ARM64: tuple(ExitReason(*row) for row in _ARM64),
}
"""Every reason that has a name, in order of its code."""

_BY_CODE: Final = {
    (int(isa), reason.code): reason for isa, reasons in EXIT_REASONS.items() for reason in reasons
}


def arm64_exit_code(ret: int, esr_ec: int) -> int:
    """Fold the two fields of arm64's `kvm_exit` into one code.

    Args:
        ret: the tracepoint's `ret`, an `ARM_EXCEPTION_*`; the flag of a pending SError (bit 31)
            is ignored.
        esr_ec: the tracepoint's `esr_ec`, an `ESR_ELx_EC_*`; read only when `ret` is a trap.

    Returns:
        The exception class (0 to 63) for a trap, else ARM64_EXCEPTION_BASE + `ret`;
        ARM64_HYP_GONE_CODE for HYP_GONE, and UNKNOWN_EXIT_SLOT where neither fits.
    """
    exception = ret & 0x7FFFFFFF
    if exception == ARM64_EXCEPTION_TRAP:
        return esr_ec if 0 <= esr_ec < ARM64_EXCEPTION_BASE else UNKNOWN_EXIT_SLOT
    if exception == ARM64_EXCEPTION_HYP_GONE:
        return ARM64_HYP_GONE_CODE
    code = ARM64_EXCEPTION_BASE + exception
    return code if code < ARM64_HYP_GONE_CODE else UNKNOWN_EXIT_SLOT


def exit_reason(isa: int, code: int) -> str:
    """Name an exit reason as the kernel prints it.

    Args:
        isa: an `Isa`, or whatever number the event carried.
        code: VMX: `exit_reason & 0xffff`; SVM: `exit_reason`, of which 32 bits count (newer
            kernels carry 64, sign-extended); arm64: from `arm64_exit_code`.

    Returns:
        The name, or `unknown:<code>` with the code in decimal.
    """
    code = _canonical(isa, code)
    reason = _BY_CODE.get((isa, code))
    return f"unknown:{code}" if reason is None else reason.name


def exit_class(isa: int, code: int) -> str:
    """Say which of EXIT_CLASSES an exit reason belongs to; arguments as in `exit_reason`."""
    reason = _BY_CODE.get((isa, _canonical(isa, code)))
    return "other" if reason is None else reason.exit_class


def exit_slot(isa: int, code: int) -> int:
    """Find the counter of an exit reason; arguments as in `exit_reason`.

    Returns:
        A slot below EXIT_SLOTS; UNKNOWN_EXIT_SLOT for a code that has none of its own.
    """
    code = _canonical(isa, code)
    if isa == Isa.SVM:
        for first_code, first_slot, count in SVM_SLOT_RANGES:
            if first_code <= code < first_code + count:
                return first_slot + code - first_code
    elif isa in (Isa.VMX, Isa.ARM64) and 0 <= code < UNKNOWN_EXIT_SLOT:
        return code
    return UNKNOWN_EXIT_SLOT


def slot_code(isa: int, slot: int) -> int | None:
    """Turn a slot back into the code that is counted there.

    Returns:
        The code, or None for UNKNOWN_EXIT_SLOT, for an unknown `isa` and for what is no slot.
    """
    if isa == Isa.SVM:
        for first_code, first_slot, count in SVM_SLOT_RANGES:
            if first_slot <= slot < first_slot + count:
                return first_code + slot - first_slot
    elif isa in (Isa.VMX, Isa.ARM64) and 0 <= slot < UNKNOWN_EXIT_SLOT:
        return slot
    return None


def _canonical(isa: int, code: int) -> int:
    # SVM_EXIT_ERR is -1: 32 bits of ones up to Linux 6.18, 64 bits since exit codes are u64.
    return code & 0xFFFFFFFF if isa == Isa.SVM else code
