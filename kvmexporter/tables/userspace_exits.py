# SPDX-License-Identifier: Apache-2.0
"""Reasons for which `KVM_RUN` returns to the VMM, as `kvm_userspace_exit` carries them.

Source: `KVM_EXIT_*` of include/uapi/linux/kvm.h, complete to Linux 7.2. A name is what the
tracepoint prints without its `KVM_EXIT_` prefix; the format itself stops at X86_WRMSR.

An event with a negative `errno` is a restart, not a reason, and is not looked up here.
"""

from typing import Final

USERSPACE_EXIT_SLOTS: Final = 64
"""Counters a vCPU has for userspace exits by reason."""

UNKNOWN_USERSPACE_EXIT_SLOT: Final = 63
"""Counts every userspace exit whose reason has no slot of its own."""

USERSPACE_EXIT_REASONS: Final[tuple[str, ...]] = (
    "UNKNOWN",  # 0
    "EXCEPTION",  # 1
    "IO",  # 2
    "HYPERCALL",  # 3
    "DEBUG",  # 4
    "HLT",  # 5
    "MMIO",  # 6
    "IRQ_WINDOW_OPEN",  # 7
    "SHUTDOWN",  # 8
    "FAIL_ENTRY",  # 9
    "INTR",  # 10
    "SET_TPR",  # 11
    "TPR_ACCESS",  # 12
    "S390_SIEIC",  # 13
    "S390_RESET",  # 14
    "DCR",  # 15
    "NMI",  # 16
    "INTERNAL_ERROR",  # 17
    "OSI",  # 18
    "PAPR_HCALL",  # 19
    "S390_UCONTROL",  # 20
    "WATCHDOG",  # 21
    "S390_TSCH",  # 22
    "EPR",  # 23
    "SYSTEM_EVENT",  # 24
    "S390_STSI",  # 25
    "IOAPIC_EOI",  # 26
    "HYPERV",  # 27
    "ARM_NISV",  # 28
    "X86_RDMSR",  # 29
    "X86_WRMSR",  # 30
    "DIRTY_RING_FULL",  # 31
    "AP_RESET_HOLD",  # 32
    "X86_BUS_LOCK",  # 33
    "XEN",  # 34
    "RISCV_SBI",  # 35
    "RISCV_CSR",  # 36
    "NOTIFY",  # 37
    "LOONGARCH_IOCSR",  # 38
    "MEMORY_FAULT",  # 39
    "TDX",  # 40
    "ARM_SEA",  # 41
    "ARM_LDST64B",  # 42
    "SNP_REQ_CERTS",  # 43
)
"""Reason number → name; the numbers have no gaps."""


def userspace_exit_slot(code: int) -> int:
    """Find the counter of a reason: the number itself, while it is below the last slot."""
    return code if 0 <= code < UNKNOWN_USERSPACE_EXIT_SLOT else UNKNOWN_USERSPACE_EXIT_SLOT


def userspace_exit_reason(code: int) -> str:
    """Name a reason.

    Args:
        code: the tracepoint's `reason`, or a slot below UNKNOWN_USERSPACE_EXIT_SLOT.

    Returns:
        The kernel's name without `KVM_EXIT_`, or `unknown:<code>` with the code in decimal.
    """
    if 0 <= code < len(USERSPACE_EXIT_REASONS):
        return USERSPACE_EXIT_REASONS[code]
    return f"unknown:{code}"
