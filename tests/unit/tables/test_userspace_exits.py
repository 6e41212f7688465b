# SPDX-License-Identifier: Apache-2.0
"""Userspace exits: the names and the slots."""

import pytest

from kvmexporter.tables.userspace_exits import (
    UNKNOWN_USERSPACE_EXIT_SLOT,
    USERSPACE_EXIT_REASONS,
    USERSPACE_EXIT_SLOTS,
    userspace_exit_reason,
    userspace_exit_slot,
)


@pytest.mark.parametrize(
    ("code", "name", "slot"),
    [
        (0, "UNKNOWN", 0),
        (2, "IO", 2),
        (5, "HLT", 5),
        (6, "MMIO", 6),
        (8, "SHUTDOWN", 8),
        (10, "INTR", 10),
        (17, "INTERNAL_ERROR", 17),
        (24, "SYSTEM_EVENT", 24),
        (30, "X86_WRMSR", 30),
        (31, "DIRTY_RING_FULL", 31),
        (37, "NOTIFY", 37),
        (39, "MEMORY_FAULT", 39),
        (40, "TDX", 40),
        (41, "ARM_SEA", 41),
        (43, "SNP_REQ_CERTS", 43),
        (44, "unknown:44", 44),
        (62, "unknown:62", 62),
        (63, "unknown:63", UNKNOWN_USERSPACE_EXIT_SLOT),
        (1000, "unknown:1000", UNKNOWN_USERSPACE_EXIT_SLOT),
        (-1, "unknown:-1", UNKNOWN_USERSPACE_EXIT_SLOT),
    ],
)
def test_a_code_has_its_name_and_slot(code: int, name: str, slot: int) -> None:
    """A reason yields the kernel's name without its prefix; an unknown one stays visible."""
    assert userspace_exit_reason(code) == name
    assert userspace_exit_slot(code) == slot


def test_every_named_reason_has_a_slot_of_its_own() -> None:
    """The table fits below the slot that counts unknown reasons, and names are unique."""
    assert len(USERSPACE_EXIT_REASONS) <= UNKNOWN_USERSPACE_EXIT_SLOT == USERSPACE_EXIT_SLOTS - 1
    assert len(set(USERSPACE_EXIT_REASONS)) == len(USERSPACE_EXIT_REASONS)
    assert not [name for name in USERSPACE_EXIT_REASONS if name.startswith("KVM_EXIT_")]
