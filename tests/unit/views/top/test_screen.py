# SPDX-License-Identifier: Apache-2.0
"""The live view's lines."""

from dataclasses import replace

import pytest
from rich.cells import cell_len

from kvmexporter.model.vm import UNSEEN, bounded_name
from kvmexporter.views.activity import activities
from kvmexporter.views.history import History
from kvmexporter.views.top.screen import Seen, clock, draw, page, spark
from kvmexporter.views.top.state import State
from tests.unit.snapshots import HOSTILE_NAMES, snapshot, status, vm
from tests.unit.views.samples import HOSTILE, everything

SIZES = [(80, 24), (200, 50), (40, 8), (20, 5)]


def seen() -> Seen:
    past = History()
    for times in range(1, 4):
        past.observe(everything(times, 100.0 + times))
    now = everything(3, 103.0)
    return Seen(now, activities(now, everything(2, 102.0)), past, 2.0)


def lines(state: State, width: int = 80, height: int = 24, what: Seen | None = None) -> list[str]:
    return [line.plain for line in draw(state, what or seen(), width, height)[0]]


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize(
    "state",
    [State(), State(opened="web"), State(opened=HOSTILE, by_vcpu=True), State(is_helping=True),
     State(is_filtering=True, filter="x" * 64), State(opened="gone"), State(is_paused=True)],
    ids=range(7),
)  # fmt: skip
def test_it_fits(state: State, width: int, height: int) -> None:
    """As high as the terminal, and no line wider, whatever is shown."""
    drawn = lines(state, width, height)
    assert len(drawn) == height
    assert max(map(cell_len, drawn)) <= width


def test_the_list() -> None:
    """The busiest VM first, with its rates and its last minute."""
    drawn = lines(State())
    assert drawn[0].startswith("kvmexporter top  ")
    assert "2 VMs  ≥108 exits/s  every 2 s" in drawn[0]
    assert drawn[1].startswith("host clock: hpet, NOT SYNCHRONISED, offset -2.5 ms, off by at most")
    assert drawn[2] == "findings: 2, worst: critical bad-clock"
    assert drawn[3].split()[:4] == ["VM", "vCPU", "▼exits/s", "I/O/s"]
    assert drawn[4].split()[:5] == ["web", "2", "100.0", "94.0", "61.0"]
    assert drawn[4].rstrip().endswith("█")
    assert "≥8.0" in drawn[5]


def test_a_wide_screen_has_the_hottest_path() -> None:
    """Where 80 columns have no place for it."""
    assert lines(State(), 200, 50)[4].rstrip().endswith("net0 (e1000)")
    assert "net0" not in "".join(lines(State()))


def test_one_vm() -> None:
    """Its paths, reasons, queues; by vCPU on demand."""
    drawn = "\n".join(lines(State(opened="web"), 100, 50))
    assert "net0 (e1000)  emulated   63.0  67.0%" in drawn
    assert "IO           io        93.0  93.0%" in drawn
    assert "vCPU  exit reason" not in drawn
    assert "vCPU  exit reason" in "\n".join(lines(State(opened="web", by_vcpu=True), 100, 50))


def test_where_kvm_announces_no_exits() -> None:
    """The reader is told what the number is."""
    assert "KVM announces no exits here" in "".join(lines(State(opened=HOSTILE)))
    listed = lines(State())
    assert listed[6].startswith("≥: KVM announces no exits here")
    assert listed[7].endswith(" are counted")
    assert "KVM announces no exits here" not in "".join(lines(State(opened="web")))


def test_what_nobody_counts() -> None:
    """Is not shown as nothing; what else there is to see stays."""
    shown = snapshot(vms=[vm("web")], statuses=[status("vms")])
    drawn = lines(State(), what=Seen(shown, activities(shown), History(), 2.0))
    assert "exits/s" not in drawn[0]
    assert drawn[4].split() == ["web", "2", "-", "-", "-"]
    assert drawn[5] == "exits are not counted: the collector exits is off"


def test_scrolling_ends_with_the_last_line() -> None:
    """So that the next key up goes up at once."""
    drawn, state = draw(State(opened="web", scroll=1 << 16), seen(), 80, 10)
    whole = len(draw(State(opened="web"), seen(), 80, 100)[0])
    assert 0 < state.scroll < whole
    assert "lines more" not in "".join(line.plain for line in drawn)
    assert "lines more" in "".join(lines(State(opened="web"), 80, 10))


def test_a_vm_that_ended() -> None:
    """While it was looked at."""
    assert "this VM has ended" in lines(State(opened="gone"))


def test_nothing_to_list() -> None:
    """No VM, or none of that name."""
    empty = Seen(snapshot(), [], History(), 2.0)
    assert "No VM runs on this host." in lines(State(), what=empty)
    blind = replace(empty, snapshot=replace(empty.snapshot, sees_all_vms=False))
    assert UNSEEN[1:] in " ".join(lines(State(), what=blind))
    assert "no VM's name contains 'zzz'" in lines(State(filter="zzz"))
    assert lines(State(), what=empty)[1] == "clock: unknown, no collector of it runs"
    assert lines(State(), what=empty)[2] == "findings: none"


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
def test_names_do_not_reach_the_terminal_raw(name: str) -> None:
    """No control character gets through, none takes more room than its column."""
    shown = snapshot(vms=[vm(bounded_name(name))])
    what = Seen(shown, activities(shown), History(), 2.0)
    for state in (State(), State(opened=bounded_name(name))):
        drawn = lines(state, 80, 24, what)
        assert [c for c in "".join(drawn) if not c.isprintable()] == []
        assert max(map(cell_len, drawn)) <= 80


def test_many_vms() -> None:
    """The cursor stays in sight."""
    shown = snapshot(
        vms=[vm(f"vm{i:03}", i + 1) for i in range(100)], statuses=[status("exits"), status("io")]
    )
    what = Seen(shown, activities(shown), History(), 2.0)
    drawn = lines(State(cursor="vm077", sort="name"), what=what)
    assert sum(line.startswith("vm0") for line in drawn) == page(24) == 19
    assert any(line.startswith("vm077") for line in drawn)


@pytest.mark.parametrize(
    ("points", "drawn"),
    [
        ((), "      "),
        (((50.0, 0.0), (0.0, 10.0)), "▁▁▁▁▁█"),
        (((20.0, 5.0), (10.0, 10.0), (0.0, 0.0)), "   ▅█▁"),
        (((0.0, 0.0),), "     ▁"),
    ],
)
def test_spark(points: tuple[tuple[float, float], ...], drawn: str) -> None:
    """A minute, now at the right; blank before anything was known."""
    assert len(spark(points, 6)) == 6
    assert spark(points, 6) == drawn


def test_the_clock_of_a_host_that_is_fine() -> None:
    """Without the bad words."""
    assert "NOT" in clock(everything()).plain
    assert clock(snapshot()).plain.startswith("clock: unknown")
