# SPDX-License-Identifier: Apache-2.0
"""The diagnosis as text."""

from dataclasses import replace

import pytest

from kvmexporter import __version__
from kvmexporter.collectors.exits import ExitsCollector
from kvmexporter.collectors.io import IoCollector
from kvmexporter.collectors.vms import VmsCollector
from kvmexporter.model.vm import SEEING, UNSEEN, bounded_name
from kvmexporter.sampler import State
from kvmexporter.tables.exit_reasons import EXIT_CLASSES, Isa, exit_slot
from kvmexporter.views.text import WIDTH, render
from tests.unit import golden
from tests.unit.golden_host import CREATED_NS, WEB, golden_host
from tests.unit.host import Host
from tests.unit.snapshots import HOSTILE_NAMES, snapshot, status, vm
from tests.unit.views.samples import WARNING, everything


def test_totals(host: Host) -> None:
    """One snapshot shows what was counted so far; see `golden` for changing the file."""
    golden_host(host)
    golden.expect("totals.txt", render(host.snapshot(VmsCollector, ExitsCollector, IoCollector)))


def test_rates(host: Host) -> None:
    """Two show what happened in between, per second; see `golden` for changing the file."""
    golden_host(host)
    host.monotonic.step = 0
    sampler = host.sampler(VmsCollector, ExitsCollector, IoCollector)
    earlier = sampler.snapshot()
    host.monotonic.now += 2.5
    io_class = EXIT_CLASSES.index("io") * 25
    host.vcpu(
        WEB + 100,
        WEB,
        CREATED_NS,
        vcpu_id=0,
        isa=Isa.VMX,
        exits={exit_slot(Isa.VMX, 30): 101 + 2503, exit_slot(Isa.VMX, 12): 11 + 7},
        handling={io_class + 2: 97 + 2000, io_class + 5: 4 + 503, io_class + 24: 9_000_000},
        userspace_exits={2: 89 + 1009, 6: 5, 60: 3},
        io={3: 7 + 2003, 1: 3 + 500},
        msrs={1: 503 + 13},
    )
    golden.expect("rates.txt", render(sampler.snapshot(), earlier))


def test_no_vm() -> None:
    """An idle host is told so."""
    assert render(snapshot(statuses=[status("vms")])) == (
        f"kvmexporter {__version__}, 2023-11-14 22:13:20 UTC, totals\n"
        "\n"
        "No VM runs on this host.\n"
        "\n"
        "Exporter\n"
        "  Collectors\n"
        "    collector  state  detail\n"
        "    vms        ok     what vms gives\n"
    )


def test_no_vm_that_can_be_seen() -> None:
    """Whoever may not look at others' processes is not told that none runs."""
    text = render(replace(snapshot(), sees_all_vms=False))
    assert "No VM runs" not in text
    assert f"No{UNSEEN[2:]}: {SEEING}." in " ".join(text.split())


def test_what_is_missing_is_said() -> None:
    """A collector that gave nothing says why, and that it matters."""
    text = render(snapshot(statuses=[status("exits", State.UNAVAILABLE, "no bcc: install it")]))
    assert "exits      unavailable  no bcc: install it\n" in text
    assert "What is not ok below is missing from everything that is shown.\n" in text


def test_a_vm_without_exits() -> None:
    """Is there all the same."""
    text = render(snapshot(vms=[vm("web")], statuses=[status("exits"), status("io")]))
    assert "VM web  (qemu, pid 10, 2 vCPU)\n  no exit seen\n" in text


def test_a_vm_whose_exits_nobody_counts() -> None:
    """Has none to show, which is not to say that there were none."""
    lines = render(snapshot(vms=[vm("web")], statuses=[status("vms")])).splitlines()
    assert lines[3].split() == ["web", "qemu", "10", "2", "-", "-", "-"]
    assert lines[5] == "exits are not counted: the collector exits is off"
    assert "no exit seen" not in "".join(lines)


def test_findings_come_first() -> None:
    """Worst on top, with what was seen, why it matters and what to do."""
    lines = render(everything()).splitlines()
    start = lines.index("Findings")
    assert start == 2
    assert lines[start + 1 : start + 5] == [
        "  CRITICAL  clock  [bad-clock]",
        "    seen  Bad.",
        "    why   Counts.",
        "    do    Set it.",
    ]
    assert lines[start + 6] == "  WARNING  VM web, net0  [slow-nic]"


def test_which_system_it_is() -> None:
    """A ticket wants to know."""
    head = render(snapshot(), where="vmhost7, Linux 6.12").splitlines()[0]
    assert head == (
        f"kvmexporter {__version__} on vmhost7, Linux 6.12, 2023-11-14 22:13:20 UTC, totals"
    )


def test_what_vms_have_in_common_is_told_once() -> None:
    """With a line for each thing that was seen."""
    others = [replace(WARNING, vm="db"), replace(WARNING, vm="mail", seen="Slower.")]
    lines = render(snapshot(findings=[WARNING, *others])).splitlines()
    start = lines.index("  WARNING  3 VMs, net0  [slow-nic]")
    assert lines[start + 1 : start + 3] == ["    seen  db, web: Slow.", "          mail: Slower."]
    assert len([line for line in lines if "[slow-nic]" in line]) == 1


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
def test_names_do_not_reach_the_terminal_raw(name: str) -> None:
    """No control character gets through, no markup is interpreted, no line is too long."""
    text = render(snapshot(vms=[vm(bounded_name(f"[bold]{name}[/bold]"))]))
    assert [c for c in text if not c.isprintable() and c != "\n"] == []
    assert max(map(len, text.splitlines())) <= WIDTH
    assert "[bold]" in text
