# SPDX-License-Identifier: Apache-2.0
"""Tables hide nothing: neither what was not measured nor how sure the rest is."""

from dataclasses import replace

import pytest

from tests.bench import budgets, machine, report
from tests.bench.contenders import BPFTRACE, HARDWARE, KVM_STAT, NOTHING, OURS
from tests.bench.losses import Loss
from tests.bench.peers.neighbours import Neighbour
from tests.unit.bench.measured import Run

RUN = Run()
NEIGHBOUR = Neighbour("node_exporter", 0.1, 20 << 20, 0.0004)
QUIET = machine.Quiet(0.3, 1.0, 0.0, 0.0, 960.0)


def row(rows: report.Rows, first: str) -> tuple[str, ...]:
    (found,) = (one for one in rows.rows if one[0] == first)
    return found


def test_budgets_have_four_outcomes() -> None:
    """Kept, not kept, not measured, and shown without a limit."""
    run = RUN.with_loss(HARDWARE.name, loss=0.034)
    rows = report.of_verdicts(replace(run, starts=()).verdicts())
    assert len(rows.rows) == len(budgets.PROMISED)
    assert row(rows, budgets.CPU.what)[1:4] == ("0.23 s", "0.25 s", "yes")
    assert row(rows, budgets.LOSS.what)[1:4] == ("3.4 %", "2 %", "NO")
    assert row(rows, budgets.FIRST_SCRAPE.what)[1:4] == ("not measured", "2 s", "NO")
    assert row(rows, budgets.LOSS_TO_ALL.what)[1:4] == ("7.6 %", "no budget", "-")
    lost = report.of_verdicts(replace(run, exits=()).verdicts())
    assert row(lost, budgets.WHOLE_EXIT.what)[1:4] == ("not measured", "no budget", "NO")


def test_the_promise_and_what_it_leaves_out_are_neighbours() -> None:
    """What all programs cost here, and a whole exit where others fire, follow the loss at once."""
    named = [one.what for one in budgets.PROMISED]
    at = named.index(budgets.LOSS.what)
    assert named[at + 1 : at + 3] == [budgets.LOSS_TO_ALL.what, budgets.WHOLE_EXIT.what]


def test_nothing_claims_hardware() -> None:
    """What was measured here is called that, and the lab's instructions the lab's."""
    tables = [
        report.of_verdicts(RUN.verdicts()), *report.of_exits(RUN.exits),
        report.of_losses(RUN.losses, NEIGHBOUR),
    ]  # fmt: skip
    text = report.markdown(tables)
    assert "on a host with VMX or SVM" not in text
    assert "Nothing here was measured on a processor with VMX or SVM" in text
    for budget in (*budgets.IN_INSTRUCTIONS.values(), budgets.WHOLE_EXIT):
        assert budget.what.endswith("in instructions, in the lab")


def test_what_was_not_measured_of_others_is_a_dash() -> None:
    """A peer that does not tell when it is attached has no start."""
    peers = (
        Loss(BPFTRACE.name, 0.04, (0.03, 0.05), 1, None, 99 << 20, 0.0004),
        Loss(KVM_STAT.name, trouble="it is not installed"),
    )
    rows = report.of_losses((*RUN.losses, *peers), NEIGHBOUR)
    assert row(rows, BPFTRACE.name)[1:5] == ("4.0 % (3.0 to 5.0)", "-", "99 MiB", "0.04 %")
    assert row(rows, OURS.name)[2] == "0.7 s"
    assert row(rows, KVM_STAT.name)[1:5] == ("it is not installed", "", "", "")


@pytest.mark.parametrize(
    ("interval", "said"),
    [
        ((-0.002, 0.003), ""),
        (
            (0.009, 0.029),
            "differs from zero by more than its noise: all others may be off by as much",
        ),
    ],
)
def test_the_guest_against_itself(interval: tuple[float, float], said: str) -> None:
    """Where it differs from zero, the table says what that means."""
    rows = report.of_losses(RUN.with_loss(NOTHING.name, interval=interval).losses, NEIGHBOUR)
    assert row(rows, NOTHING.name)[-1] == said


def test_noise_is_one_thing_everywhere() -> None:
    """An interval in brackets after a median; nothing after what was measured once."""
    tables = [
        report.of_verdicts(RUN.verdicts()), report.of_machine(QUIET, RUN.losses),
        report.of_events(RUN.events), report.of_losses(RUN.losses, NEIGHBOUR),
        report.of_start(RUN.starts), *report.of_scrapes(RUN.scrapes),
    ]  # fmt: skip
    assert "±" not in report.markdown(tables)
    starts = report.of_start(RUN.starts)
    assert [one[1] for one in starts.rows] == [
        "1.40 s", "1.10 s (1.00 to 1.20)", "0.50 s (0.40 to 0.60)"
    ]  # fmt: skip
    assert report.of_events(RUN.events).rows[0][3] == "17 (15 to 19)"


def test_a_loader_that_was_not_seen_is_told() -> None:
    starts = RUN.with_start("warm", loader_bytes=None, loader_gone=False).starts
    assert row(report.of_start(starts), "warm")[3] == "not seen, LEFT BEHIND"


def test_a_scrape_is_more_than_its_collectors() -> None:
    """What none of them has is a row of its own, and so is the whole."""
    _, by_collector, _ = report.of_scrapes(RUN.scrapes)
    assert [one[0].partition(":")[0] for one in by_collector.rows] == [
        "exits", "io", "no collector", "the whole"
    ]  # fmt: skip
    assert [one[2] for one in by_collector.rows] == ["30.0 ms", "40.0 ms", "50.0 ms", "452.0 ms"]


def test_memory_is_told_thrice() -> None:
    """What stays, what a scrape takes for a while, and the kernel's."""
    scrapes, *_ = report.of_scrapes(RUN.scrapes)
    at = scrapes.columns.index("resident")
    assert scrapes.columns[at : at + 3] == ("resident", "peak", "BPF maps")
    assert scrapes.rows[-2][at : at + 3] == ("63 MiB", "69 MiB", "20.0 MiB")


def test_what_is_read_in_turns_is_said() -> None:
    """With 1,000 VMs: 8,000 threads, 2,000 a scrape; 128 processes a scrape."""
    text = " ".join(report.markdown([]).split())
    assert "at most 2,000 threads and the memory of at most 128 VMs' processes" in text
    assert "times are read anew every 60 s and memory every 120 s, scraped every 15 s" in text


def test_a_run_under_load_says_so() -> None:
    """In the document; a quiet one says nothing."""
    assert QUIET.trouble == ""
    loaded = replace(QUIET, load_before=14.1)
    assert "began under load (14.1" in loaded.trouble
    assert f"**{loaded.trouble}**" in report.markdown([], loaded.trouble)
    assert "**" not in report.markdown([], QUIET.trouble)
