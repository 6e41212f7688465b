# SPDX-License-Identifier: Apache-2.0
"""Hypercalls: the names and the slots."""

import re

import pytest

from kvmexporter.tables.hypercalls import (
    HYPERCALL_SLOTS,
    HYPERCALLS,
    OTHER_HYPERCALL_SLOT,
    hypercall_name,
    hypercall_slot,
)


@pytest.mark.parametrize(
    ("nr", "name", "slot"),
    [
        (1, "vapic_poll_irq", 1),
        (5, "kick_cpu", 5),
        (9, "clock_pairing", 9),
        (10, "send_ipi", 10),
        (11, "sched_yield", 11),
        (12, "map_gpa_range", 12),
        (0, "unknown:0", 0),
        (14, "unknown:14", 14),
        (15, "other", OTHER_HYPERCALL_SLOT),
        (1 << 63, "other", OTHER_HYPERCALL_SLOT),
        (-1, "other", OTHER_HYPERCALL_SLOT),
    ],
)
def test_a_number_has_its_name_and_slot(nr: int, name: str, slot: int) -> None:
    """A hypercall yields its name; what a guest makes up ends in one slot with one name."""
    assert hypercall_name(nr) == name
    assert hypercall_slot(nr) == slot


def test_every_named_hypercall_has_a_slot_of_its_own() -> None:
    """The table fits below the slot that counts the others, and names are good label values."""
    assert OTHER_HYPERCALL_SLOT == HYPERCALL_SLOTS - 1
    assert [hypercall_slot(nr) for nr in HYPERCALLS] == list(HYPERCALLS)
    assert len(set(HYPERCALLS.values()) | {"other"}) == len(HYPERCALLS) + 1
    assert [name for name in HYPERCALLS.values() if not re.fullmatch(r"[a-z_]+", name)] == []
