# SPDX-License-Identifier: Apache-2.0
"""The diagnosis as sections and tables."""

from dataclasses import replace

import pytest

from kvmexporter.model.exits import UNANNOUNCED, UNHEARD
from kvmexporter.model.findings import Finding, Severity
from kvmexporter.sampler import State
from kvmexporter.views.activity import activities
from kvmexporter.views.report import (
    Table,
    build,
    of_vm,
    overview,
    without_empty_columns,
    worst_first,
)
from tests.unit.snapshots import snapshot, status, vm
from tests.unit.views.samples import CRITICAL, HOSTILE, WARNING, everything


def test_worst_first() -> None:
    """By severity, the host before VMs."""
    info = Finding("a", Severity.INFO, "", "x", "Seen.", "Matters.", "Do.")
    mild = Finding("b", Severity.WARNING, "", "x", "Seen.", "Matters.", "Do.")
    assert worst_first([info, WARNING, CRITICAL, mild]) == (CRITICAL, mild, WARNING, info)


def test_the_order() -> None:
    """Findings, VMs, the host, the exporter; in a VM exits, then I/O paths."""
    built = build(everything())
    assert built.findings[0] is CRITICAL
    assert [chapter.vm for chapter in built.chapters] == ["web", HOSTILE, "", ""]
    assert [chapter.title for chapter in built.chapters[2:]] == ["Host", "Exporter"]
    assert [section.title for section in built.chapters[0].sections] == ["Exits", "I/O paths"]
    assert [section.title for section in built.chapters[2].sections] == ["Time"]


def test_the_overview() -> None:
    """The busiest first; the least there were where KVM announces no exits."""
    table = overview(activities(everything(3, 102.0), everything()))
    assert [row[0] for row in table.rows] == ["web", HOSTILE]
    assert [row[4] for row in table.rows] == ["100.0", "≥8.0"]
    assert table.headings[4] == "exits/s "


def test_a_vm_s_tables() -> None:
    """Exits by reason with their share, paths by who handled them."""
    exits, io = build(everything()).chapters[0].sections
    assert exits.tables[0].rows[0] == ("IO", "io", "93", "93.0%", "3.12 µs", "29 µs")
    assert exits.tables[0].shares == (0.93, 0.07)
    assert io.tables[0].rows == (
        ("net0 (e1000)", "emulated", "63", "67.0%", "2", "61"),
        ("rtc", "emulated", "31", "33.0%", "0", "31"),
    )
    assert io.tables[-1].rows == (("port", "0x3f8", "17"),)
    assert [one.title for one in exits.distributions] == ["exit handling io"]


def test_where_kvm_announces_no_exits() -> None:
    """The reader is told once, below the numbers, whichever VMs it is true of."""
    built = build(everything())
    assert built.notes == (f"≥: {UNANNOUNCED}",)
    assert {chapter.note for chapter in built.chapters if chapter.vm} == {""}


@pytest.mark.parametrize(("hears", "said"), [(True, UNANNOUNCED), (False, UNHEARD)])
def test_where_exits_have_no_probe(hears: bool, said: str) -> None:
    """That is no property of the host's: it says what is missing, and where to look."""
    built = build(replace(everything(), hears_exits=hears))
    assert built.notes == (f"≥: {said}",)


def test_what_nobody_counts() -> None:
    """Is neither zero nor unseen."""
    why = "BPF is turned off: leave out --no-bpf"
    off = [status(name, State.UNAVAILABLE, why) for name in ("exits", "io")]
    built = build(snapshot(vms=[vm("web")], statuses=off))
    assert built.overview
    assert built.overview.rows == (("web", "qemu", "10", "2", "-", "-", "-", "", ""),)
    assert built.notes == (f"exits are not counted: {why}",)
    assert built.chapters[0].note == ""


def test_no_vm() -> None:
    """No overview, no chapter of one."""
    built = build(snapshot(statuses=[status("vms")]))
    assert built.overview is None
    assert [chapter.title for chapter in built.chapters] == ["Exporter"]
    assert built.chapters[0].note == ""


def test_what_is_missing_is_said() -> None:
    """As soon as one collector is not ok."""
    assert "missing from everything" in build(everything()).chapters[-1].note


def test_empty_columns() -> None:
    """Are left out, headings and all, but for the first."""
    table = Table(("a", "b ", "c "), (("", "", "x"), ("", "", "")), (0.5, 0.5))
    assert without_empty_columns(table) == Table(("a", "c "), (("", "x"), ("", "")), (0.5, 0.5))


def test_what_else_a_vm_has() -> None:
    """Nothing that a table of its own shows, nothing of another VM."""
    assert of_vm(everything(), "web") == []
