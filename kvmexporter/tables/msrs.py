# SPDX-License-Identifier: Apache-2.0
"""Model-specific registers whose accesses leave guest mode on KVM hosts, as `kvm_msr` sees them.

Numbers from arch/x86/include/asm/msr-index.h (architectural), apicdef.h (x2APIC: APIC_BASE_MSR
plus the register's offset / 16), uapi/asm/kvm_para.h (`kvm_`) and include/hyperv/hvgdk_mini.h
(`hv_`) of Linux 7.2. A name is the macro's in lower case without the prefix that says whose it is.

The guest chooses which MSRs it touches, so only these are told apart: timekeeping first, then
interrupts, paravirtualisation and what a guest kernel writes on context switches; the rest is one
slot, `other`.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Msr:
    """One MSR: its number (what RDMSR takes in ECX) and its name as a label value."""

    index: int
    name: str


MSRS: Final[tuple[Msr, ...]] = (
    Msr(0x000006E0, "tsc_deadline"),
    Msr(0x00000010, "tsc"),
    Msr(0x0000003B, "tsc_adjust"),
    Msr(0xC0000103, "tsc_aux"),
    Msr(0x0000001B, "apic_base"),
    Msr(0x00000808, "x2apic_tpr"),
    Msr(0x0000080B, "x2apic_eoi"),
    Msr(0x0000080F, "x2apic_spiv"),
    Msr(0x00000830, "x2apic_icr"),
    Msr(0x00000832, "x2apic_lvtt"),
    Msr(0x00000834, "x2apic_lvtpc"),
    Msr(0x00000838, "x2apic_tmict"),
    Msr(0x00000839, "x2apic_tmcct"),
    Msr(0x0000083F, "x2apic_self_ipi"),
    Msr(0x00000011, "kvm_wall_clock"),
    Msr(0x00000012, "kvm_system_time"),
    Msr(0x4B564D00, "kvm_wall_clock_new"),
    Msr(0x4B564D01, "kvm_system_time_new"),
    Msr(0x4B564D02, "kvm_async_pf_en"),
    Msr(0x4B564D03, "kvm_steal_time"),
    Msr(0x4B564D04, "kvm_pv_eoi_en"),
    Msr(0x4B564D05, "kvm_poll_control"),
    Msr(0x4B564D06, "kvm_async_pf_int"),
    Msr(0x4B564D07, "kvm_async_pf_ack"),
    Msr(0x4B564D08, "kvm_migration_control"),
    Msr(0x40000002, "hv_vp_index"),
    Msr(0x40000020, "hv_time_ref_count"),
    Msr(0x40000021, "hv_reference_tsc"),
    Msr(0x40000070, "hv_eoi"),
    Msr(0x40000071, "hv_icr"),
    Msr(0x40000072, "hv_tpr"),
    Msr(0x40000084, "hv_eom"),
    Msr(0x400000B0, "hv_stimer0_config"),
    Msr(0x400000B1, "hv_stimer0_count"),
    Msr(0x400000F0, "hv_guest_idle"),
    Msr(0x00000048, "spec_ctrl"),
    Msr(0x00000049, "pred_cmd"),
    Msr(0x0000010B, "flush_cmd"),
    Msr(0xC0000080, "efer"),
    Msr(0xC0000102, "kernel_gs_base"),
    Msr(0x000001A0, "misc_enable"),
    Msr(0x000001D9, "debugctl"),
    Msr(0x00000277, "cr_pat"),
    Msr(0x0000008B, "ucode_rev"),
    Msr(0x00000186, "perf_evntsel0"),
    Msr(0x0000038F, "perf_global_ctrl"),
    Msr(0x00000390, "perf_global_ovf_ctrl"),
    Msr(0xC0010200, "f15h_perf_ctl0"),
)
"""The slot of an MSR is its position here; TSC_DEADLINE is slot 0."""

OTHER_MSR_SLOT: Final = len(MSRS)
"""Counts accesses to every MSR that is not in the table."""

MSR_SLOTS: Final = OTHER_MSR_SLOT + 1
"""Counters there are for MSRs, per direction."""

_SLOT_BY_INDEX: Final = {msr.index: slot for slot, msr in enumerate(MSRS)}


def msr_slot(index: int) -> int:
    """Find the slot of an MSR by its number; OTHER_MSR_SLOT if it is not in the table."""
    return _SLOT_BY_INDEX.get(index, OTHER_MSR_SLOT)


def msr_name(slot: int) -> str:
    """Name the MSR that a slot counts.

    Args:
        slot: 0 to OTHER_MSR_SLOT.

    Returns:
        Its name, `other` for OTHER_MSR_SLOT.

    Raises:
        IndexError: there is no such slot.
    """
    if not 0 <= slot < MSR_SLOTS:
        raise IndexError(f"MSR slot {slot} is not below {MSR_SLOTS}")
    return "other" if slot == OTHER_MSR_SLOT else MSRS[slot].name
