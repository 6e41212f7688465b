# SPDX-License-Identifier: Apache-2.0
"""Names of VMs: bounded, printable, unique."""

import pytest

from kvmexporter.model.vm import MAX_NAME_LENGTH, Vm, VmId, bounded_name, with_unique_names


@pytest.mark.parametrize(
    ("name", "bounded"),
    [
        ("", ""),
        ("web-1", "web-1"),
        ("Größe 名前 🐧", "Größe 名前 🐧"),
        ('a"b\\c', 'a"b\\c'),
        ("<script>alert(1)</script>", "<script>alert(1)</script>"),
        ("two\nlines", "two\ufffdlines"),
        ("\x1b[31mred\x07\0", "\ufffd[31mred\ufffd\ufffd"),
        ("line\u2028separator\u200bzero\u202eright-to-left", "line�separator�zero�right-to-left"),
        ("\ud800", "\ufffd"),
        ("x" * MAX_NAME_LENGTH, "x" * MAX_NAME_LENGTH),
        ("x" * (MAX_NAME_LENGTH + 1), "x" * (MAX_NAME_LENGTH - 1) + "…"),
        ("x" * 10_000, "x" * (MAX_NAME_LENGTH - 1) + "…"),
        ("\n" * 10_000, "\ufffd" * (MAX_NAME_LENGTH - 1) + "…"),
    ],
)
def test_a_name_is_bounded_and_printable(name: str, bounded: str) -> None:
    """Whatever a tenant chose, the name fits a label, a line and a terminal."""
    assert bounded_name(name) == bounded
    assert len(bounded) <= MAX_NAME_LENGTH
    assert bounded.isprintable()


def vm(name: str, start_ns: int, pid: int) -> Vm:
    return Vm(VmId(start_ns, pid), name, "qemu", "qemu")


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ([], []),
        ([("a", 1, 7), ("b", 2, 8)], ["a", "b"]),
        ([("b", 2, 8), ("a", 1, 7)], ["a", "b"]),
        ([("a", 2, 8), ("a", 1, 9)], ["a", "a~8"]),
        ([("a", 5, 9), ("a", 5, 8), ("a", 6, 7)], ["a", "a~9", "a~7"]),
        ([("a", 1, 1), ("a~3", 2, 2), ("b", 3, 3)], ["a", "a~3", "b"]),
    ],
)
def test_names_are_unique(given: list[tuple[str, int, int]], names: list[str]) -> None:
    """Oldest first; of two with one name the older keeps it, the other is `NAME~PID`."""
    assert [one.name for one in with_unique_names(vm(*one) for one in given)] == names


def test_a_name_made_up_to_collide_is_made_unique_too() -> None:
    """A tenant who calls a VM what another would be renamed to breaks nothing."""
    renamed = with_unique_names([vm("a~3", 1, 1), vm("a", 2, 2), vm("a", 3, 3)])
    assert len({one.name for one in renamed}) == 3


def test_the_same_pid_again_is_another_vm() -> None:
    """Identity is pid and start together, and sorts by age."""
    assert VmId(1, 7) != VmId(2, 7)
    assert sorted([VmId(2, 1), VmId(1, 9)]) == [VmId(1, 9), VmId(2, 1)]
