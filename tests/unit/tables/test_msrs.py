# SPDX-License-Identifier: Apache-2.0
"""MSRs: the table, its slots and the one for all others."""

import re

import pytest

from kvmexporter.tables.msrs import MSR_SLOTS, MSRS, OTHER_MSR_SLOT, msr_name, msr_slot


@pytest.mark.parametrize(
    ("index", "name"),
    [
        (0x6E0, "tsc_deadline"),
        (0x10, "tsc"),
        (0x3B, "tsc_adjust"),
        (0x1B, "apic_base"),
        (0x80B, "x2apic_eoi"),
        (0x830, "x2apic_icr"),
        (0x838, "x2apic_tmict"),
        (0x4B564D01, "kvm_system_time_new"),
        (0x4B564D03, "kvm_steal_time"),
        (0x40000021, "hv_reference_tsc"),
        (0x48, "spec_ctrl"),
        (0xC0000080, "efer"),
        (0xC0000103, "tsc_aux"),
        (0x0, "other"),
        (0xFFFFFFFF, "other"),
    ],
)
def test_an_index_leads_to_its_name(index: int, name: str) -> None:
    """An MSR's number leads through its slot to its name, an unlisted one to `other`."""
    assert msr_name(msr_slot(index)) == name


def test_tsc_deadline_is_the_first() -> None:
    """The probes find the guest's timer in slot 0."""
    assert msr_slot(0x6E0) == 0


def test_the_table_is_small_and_without_duplicates() -> None:
    """At most 48 MSRs, each once, each with a name that is a good label value."""
    assert len(MSRS) <= 48
    assert len({msr.index for msr in MSRS}) == len({msr.name for msr in MSRS}) == len(MSRS)
    assert [msr.name for msr in MSRS if not re.fullmatch(r"[a-z][a-z0-9_]*", msr.name)] == []
    assert [msr for msr in MSRS if not 0 <= msr.index < 1 << 32 or msr.name == "other"] == []


def test_every_listed_msr_has_a_slot_of_its_own() -> None:
    """Slots are the positions in the table, and the one after them counts the rest."""
    assert [msr_slot(msr.index) for msr in MSRS] == list(range(OTHER_MSR_SLOT))
    assert MSR_SLOTS == OTHER_MSR_SLOT + 1
    assert msr_name(OTHER_MSR_SLOT) == "other"


@pytest.mark.parametrize("slot", [-1, MSR_SLOTS])
def test_no_slot_no_name(slot: int) -> None:
    """A number that is no slot is refused, and not read from the table's other end."""
    with pytest.raises(IndexError, match=f"MSR slot {slot} "):
        msr_name(slot)
