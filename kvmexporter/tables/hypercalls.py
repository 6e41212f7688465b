# SPDX-License-Identifier: Apache-2.0
"""KVM's own hypercalls, as `kvm_hypercall` carries their number.

Source: `KVM_HC_*` of include/uapi/linux/kvm_para.h, complete to Linux 7.2. Hyper-V and Xen
hypercalls have numbers and tracepoints of their own and are not meant here.
"""

from typing import Final

HYPERCALL_SLOTS: Final = 16
"""Counters a VM has for hypercalls by number."""

OTHER_HYPERCALL_SLOT: Final = 15
"""Counts every hypercall whose number, which the guest chooses, has no slot of its own."""

HYPERCALLS: Final[dict[int, str]] = {
    1: "vapic_poll_irq",
    2: "mmu_op",
    3: "features",
    4: "ppc_map_magic_page",
    5: "kick_cpu",
    6: "mips_get_clock_freq",
    7: "mips_exit_vm",
    8: "mips_console_output",
    9: "clock_pairing",
    10: "send_ipi",
    11: "sched_yield",
    12: "map_gpa_range",
}
"""Hypercall number → the macro's name in lower case without `KVM_HC_`."""


def hypercall_slot(nr: int) -> int:
    """Find the counter of a hypercall: its number, while that is below the last slot."""
    return nr if 0 <= nr < OTHER_HYPERCALL_SLOT else OTHER_HYPERCALL_SLOT


def hypercall_name(nr: int) -> str:
    """Name a hypercall.

    Args:
        nr: its number or its slot.

    Returns:
        The name; `unknown:<nr>` for a number that has a slot and no name (yet); `other` from
        OTHER_HYPERCALL_SLOT on, so that a guest cannot make up label values.
    """
    if hypercall_slot(nr) == OTHER_HYPERCALL_SLOT:
        return "other"
    return HYPERCALLS.get(nr, f"unknown:{nr}")
