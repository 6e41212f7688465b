# SPDX-License-Identifier: Apache-2.0
"""Every promise is judged: kept, exceeded, or not measured, which is no better."""

from dataclasses import replace

import pytest

from tests.bench import budgets
from tests.bench.budgets import Budget
from tests.bench.contenders import EMULATOR, HARDWARE, NOTHING, OURS
from tests.bench.events import OPERATIONS
from tests.bench.scrape import SIZES, Window
from tests.bench.start import COMPILING, WARM
from tests.unit.bench.measured import MIB, Run

RUN = Run()
OPEN = {budget for budget in budgets.PROMISED if budget.most is None}


def exceeded(run: Run) -> set[Budget]:
    return {one.budget for one in run.verdicts() if one.measured is not None and not one.kept}


def unmeasured(run: Run) -> set[Budget]:
    return {one.budget for one in run.verdicts() if one.measured is None}


def codes(run: Run) -> tuple[int, int]:
    """The exit codes of a whole run and of a part of one."""
    verdicts = run.verdicts()
    return (
        budgets.exit_code(verdicts, whole=True),
        budgets.exit_code(verdicts, whole=False),
    )


def test_a_run_that_keeps_everything() -> None:
    """All is judged, each once, and the run succeeds."""
    assert [one.budget for one in RUN.verdicts()] == list(budgets.PROMISED)
    assert len(set(budgets.PROMISED)) == len(budgets.PROMISED)
    assert exceeded(RUN) == unmeasured(RUN) == set()
    assert codes(RUN) == (0, 0)


EXCEEDED = {
    **{
        f"hash {name}": (RUN.with_event(name, hash_ns=33.9), {budgets.AGAINST_HASH[name]})
        for name in OPERATIONS
    },
    **{
        f"net {name}": (RUN.with_event(name, ours_ns=60.1, hash_ns=130.0), {budgets.NET[name]})
        for name in budgets.NET
    },
    "loss": (RUN.with_loss(HARDWARE.name, loss=0.0201), {budgets.LOSS}),
    "cpu": (
        RUN.with_scrape(500, cpu_seconds=0.251, window=Window(60.0, 0.023, 4, 4 * 0.251, 0, 0)),
        {budgets.CPU},
    ),
    "memory": (RUN.with_scrape(500, resident_bytes=65 * MIB), {budgets.MEMORY}),
    "response": (RUN.with_scrape(500, gzip_bytes=MIB + 6000), {budgets.RESPONSE}),
    "series": (RUN.with_scrape(500, series_per_vm=150.2), {budgets.SERIES}),
    "share with visits": (
        RUN.with_scrape(500, window=Window(60.0, 0.023, 4, 0.92, 0, 0), visit_seconds=0.02),
        {budgets.SHARE},
    ),
    "share": (RUN.with_scrape(500, window=Window(60.0, 0.0301, 4, 0.92, 500, 0)), {budgets.SHARE}),
    "growth of time": (
        RUN.with_scrape(1000, cpu_seconds=0.6),
        {budgets.TWICE_CPU, budgets.LINE_CPU},
    ),
    "growth of memory": (
        RUN.with_scrape(1000, resident_bytes=150 * MIB),
        {budgets.TWICE_MEMORY, budgets.LINE_MEMORY},
    ),
    "first step of time": (RUN.with_scrape(100, cpu_seconds=0.08), {budgets.LINE_CPU}),
    "first step of memory": (RUN.with_scrape(100, resident_bytes=64 * MIB), {budgets.LINE_MEMORY}),
    "start": (RUN.with_start(WARM, seconds=2.01), {budgets.FIRST_SCRAPE}),
    "loader": (RUN.with_start(COMPILING, loader_bytes=201 * MIB), {budgets.LOADER_PEAK}),
    "left": (RUN.with_start(WARM, loader_gone=False), {budgets.LOADERS_LEFT}),
}


@pytest.mark.parametrize("name", EXCEEDED)
def test_each_budget_can_be_exceeded(name: str) -> None:
    """That one is then not kept, the others are, and the run fails, be it whole or not."""
    run, expected = EXCEEDED[name]
    assert exceeded(run) == expected
    assert codes(run) == (1, 1)


def test_no_budget_is_left_out_above() -> None:
    """Each that has a limit is exceeded once."""
    seen = {budget for _, expected in EXCEEDED.values() for budget in expected}
    assert seen == set(budgets.PROMISED) - OPEN


LOST = {
    "events": (replace(RUN, events=()), {*budgets.AGAINST_HASH.values(), *budgets.NET.values()}),
    "one event": (
        replace(RUN, events=RUN.events[1:]),
        {budgets.AGAINST_HASH["pit_write"], budgets.NET["pit_write"]},
    ),
    "exits": (replace(RUN, exits=()), {*budgets.IN_INSTRUCTIONS.values(), budgets.WHOLE_EXIT}),
    "one exit": (
        replace(RUN, exits=RUN.exits[:1]),
        {budgets.IN_INSTRUCTIONS["kvm_userspace_exit", "serial_write"]},
    ),
    "losses": (replace(RUN, losses=()), {budgets.LOSS, budgets.LOSS_TO_ALL}),
    "trouble": (RUN.with_loss(HARDWARE.name, trouble="it ends at once"), {budgets.LOSS}),
    "trouble of all": (RUN.with_loss(OURS.name, trouble="it ends"), {budgets.LOSS_TO_ALL}),
    "starts": (
        replace(RUN, starts=()),
        {budgets.FIRST_SCRAPE, budgets.LOADER_PEAK, budgets.LOADERS_LEFT},
    ),
    "no warm start": (replace(RUN, starts=RUN.starts[:2]), {budgets.FIRST_SCRAPE}),
    "an unseen loader": (RUN.with_start(WARM, loader_bytes=None), {budgets.LOADER_PEAK}),
    "no window": (RUN.with_scrape(500, window=None), {budgets.SHARE}),
    "no visit": (RUN.with_scrape(500, visit_seconds=None), {budgets.SHARE}),
    "ten VMs": (
        replace(RUN, scrapes=RUN.scrapes[1:]),
        {budgets.LINE_CPU, budgets.LINE_MEMORY},
    ),
    "1,000 VMs": (
        replace(RUN, scrapes=RUN.scrapes[:-1]),
        {budgets.LINE_CPU, budgets.LINE_MEMORY, budgets.TWICE_CPU, budgets.TWICE_MEMORY},
    ),
    "500 VMs": (
        replace(RUN, scrapes=(*RUN.scrapes[:-2], RUN.scrapes[-1])),
        {
            budgets.CPU, budgets.MEMORY, budgets.MAPS, budgets.RESPONSE, budgets.SERIES,
            budgets.SHARE, budgets.TWICE_CPU, budgets.TWICE_MEMORY, budgets.LINE_CPU,
            budgets.LINE_MEMORY,
        },
    ),
    "500 VMs as they are by default": (
        RUN.with_scrape(500, without="io"),
        {
            budgets.CPU, budgets.MEMORY, budgets.MAPS, budgets.RESPONSE, budgets.SERIES,
            budgets.SHARE, budgets.TWICE_CPU, budgets.TWICE_MEMORY, budgets.LINE_CPU,
            budgets.LINE_MEMORY,
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LOST)
def test_what_was_not_measured_is_not_kept(name: str) -> None:
    """A whole run fails; a part of one is judged by what it measured."""
    run, expected = LOST[name]
    assert unmeasured(run) == expected
    assert exceeded(run) == set()
    assert codes(run) == (1, 0)


def test_each_promise_can_be_lost() -> None:
    """None is kept by default."""
    assert {one for _, expected in LOST.values() for one in expected} == set(budgets.PROMISED)


@pytest.mark.parametrize("changes", [{"hash_ns": -3.0}, {"ours_ns": -0.1}, {"hash_ns": 0.0}])
def test_a_difference_below_nothing_keeps_no_budget(changes: dict[str, float]) -> None:
    """A program that seems quicker than an empty one was not measured."""
    run = RUN.with_event("pit_write", **changes)
    assert budgets.AGAINST_HASH["pit_write"] in unmeasured(run)
    assert exceeded(run) == set()


def because(run: Run, budget: Budget) -> str:
    (found,) = (one.because for one in run.verdicts() if one.budget == budget)
    return found


def test_trouble_is_told() -> None:
    """In the contender's own words, or with what was not seen."""
    run = RUN.with_loss(HARDWARE.name, trouble="it ends at once: no such tracepoint")
    assert because(run, budgets.LOSS) == "it ends at once: no such tracepoint"
    run = RUN.with_start(WARM, loader_bytes=None)
    assert because(run, budgets.LOADER_PEAK) == "the loader was not seen: warm"
    run = RUN.with_scrape(500, visit_seconds=None)
    assert because(run, budgets.SHARE) == "no visit was measured"


def test_instructions_are_shown_without_a_limit() -> None:
    """However many they are: ratios net of the account, and what a whole exit takes."""
    found = {one.budget: one for one in RUN.verdicts()}
    ratios = {
        event: found[budget].measured for (event, _), budget in budgets.IN_INSTRUCTIONS.items()
    }
    assert ratios == {
        "kvm_exit": pytest.approx(190 / 147),
        "kvm_entry": pytest.approx(251 / 150),
        "kvm_userspace_exit": pytest.approx(92 / 153),
    }
    assert found[budgets.WHOLE_EXIT].measured == pytest.approx(1.7)
    assert "190 instructions against 147" in because(
        RUN, budgets.IN_INSTRUCTIONS["kvm_exit", "pit_write"]
    )
    assert all(found[budget].kept for budget in OPEN)


def test_what_a_loss_is_said_with() -> None:
    """The guest against itself beside it; and what an empty program takes of everything."""
    assert because(RUN, budgets.LOSS) == (
        "1.5 % (1.4 to 1.6); an operation takes 7.2 µs; nothing takes 0.1 % (-0.2 to 0.3)"
    )
    assert because(RUN, budgets.LOSS_TO_ALL) == (
        "7.6 % (7.1 to 8.1); an empty program on kvm_emulate_insn takes 6.0 % (5.9 to 6.1)"
    )
    alone = replace(RUN, losses=tuple(
        one for one in RUN.losses if one.what not in (NOTHING.name, EMULATOR.name)
    ))  # fmt: skip
    assert because(alone, budgets.LOSS_TO_ALL) == "7.6 % (7.1 to 8.1)"


def test_visits_that_a_window_did_not_have_are_added() -> None:
    """500 VMs every 600 s, four looks at a third of a visit in between, 3 ms each: 0.6 %."""
    (cost,) = (one for one in RUN.scrapes if one.vms == 500)
    assert cost.missing_visits_share == pytest.approx(500 / 600 * 2.32 * 0.003)
    assert cost.share == pytest.approx(0.023 + 0.0058)
    half = replace(cost, window=Window(60.0, 0.023, 4, 0.92, 40, 0))
    assert half.missing_visits_share == pytest.approx(0.0058 - 40 / 60 * 0.003)
    # More than its share is no reason to take any away.
    assert replace(cost, window=Window(60.0, 0.03, 4, 0.92, 200, 0)).share == 0.03


def test_scrapes_of_a_window_count_as_they_are_undisturbed() -> None:
    """Of four that took 0.3 s each beside a neighbour, 0.28 s in all are its doing, in 60 s."""
    (cost,) = (one for one in RUN.scrapes if one.vms == 500)
    disturbed = replace(cost, window=Window(60.0, 0.030, 4, 1.2, 500, 0))
    assert disturbed.share == pytest.approx(0.030 - 0.28 / 60)


def test_what_is_said_of_disturbance() -> None:
    """How many scrapes were made for those that count; or that there were too few of those."""
    run = RUN.with_scrape(500, scrapes=23)
    assert because(run, budgets.CPU).endswith("; 9 of 23 scrapes were left alone by neighbours")
    run = RUN.with_scrape(500, scrapes=60, undisturbed=4)
    assert because(run, budgets.CPU).endswith(
        "; of 60 scrapes neighbours left 4 alone: too few, the median is of all"
    )


def test_what_a_share_is_said_with() -> None:
    """How many visits the time had, how often they come and what was added."""
    said = because(RUN, budgets.SHARE)
    for part in ("2.30 % in 60 s with 0 visits", "every 600 s", "3.0 ms", "0.58 % added"):
        assert part in said


def test_every_step_of_growth_is_said() -> None:
    """And the line that they are judged by."""
    said = because(RUN, budgets.LINE_CPU)
    assert said == (
        "10 VMs 1.00, 50 VMs 1.00, 100 VMs 1.00, 500 VMs 1.00, 1,000 VMs 1.00; "
        "the line: 10.0 ms and 0.440 ms a VM"
    )
    assert SIZES == (10, 50, 100, 500, 1000)
