# SPDX-License-Identifier: Apache-2.0
"""Measure everything, say it, and fail where a budget is not kept.

python -m tests.bench [--quick] [--sizes 10 100 500 1000] [--output docs/benchmarks.md]

Documents are written by a whole run, or where --output says.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from tests.bench import (
    budgets,
    contenders,
    events,
    instructions,
    losses,
    machine,
    report,
    scale,
    scrape,
    start,
)
from tests.bench.peers.neighbours import node_exporter

_DOCUMENT = Path("docs/benchmarks.md")
_QUICK_VMS = 100


def _scrapes(sizes: list[int]) -> list[scrape.Cost]:
    with tempfile.NamedTemporaryFile() as output:
        namespace = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        command = [sys.executable, "-m", "tests.bench.scrape", output.name, *map(str, sizes)]
        subprocess.run([*namespace, *command], check=True, stdout=subprocess.DEVNULL)
        found = json.loads(Path(output.name).read_text())
    return [scrape.read(one) for one in found]


def _exits() -> list[instructions.ExitCost]:
    """What exits cost on a host with SVM: the lab's, which this one boots."""
    results = Path("lab-results/bench").resolve()
    output = results / "instructions.json"
    module = [sys.executable, "-m"]
    boot = [*module, "tests.lab.boot", "--kernel", "6.12", "--tsc", "reliable"]
    command = [*module, "tests.bench.instructions", str(output)]
    output.unlink(missing_ok=True)
    done = subprocess.run(
        [*boot, "--count-instructions", "--results", str(results), "--", *command],
        check=False, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    if done.returncode:
        return []  # what else was measured is worth its document
    return [instructions.ExitCost(**one) for one in json.loads(output.read_text())]


def is_whole(sizes: Sequence[int], *, quick: bool) -> bool:
    """Whether everything that was promised is measured."""
    return not quick and set(scrape.SIZES) <= set(sizes)


def document(asked: Path | None, *, whole: bool) -> Path | None:
    """Where what was measured is written, None if it is not."""
    return asked or (_DOCUMENT if whole else None)


def main() -> int:
    """Measure; returns an exit code, see `budgets.exit_code`."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(scrape.SIZES))
    parser.add_argument(
        "--output",
        type=Path,
        help="where to write; a whole run alone writes docs/benchmarks.md unasked",
    )
    parser.add_argument(
        "--quick", action="store_true", help="few turns and small fleets: says whether it runs"
    )
    options = parser.parse_args()
    starts, turns, pairs = (2, 1, 2) if options.quick else (7, 5, 6)
    sizes = [size for size in options.sizes if not options.quick or size <= _QUICK_VMS]
    whole = is_whole(sizes, quick=options.quick)
    console = Console()
    watch = machine.Watch()
    if trouble := machine.busy(watch.load):
        print(trouble, file=sys.stderr)
    console.print("start: cold, then warm")
    started = start.measure(starts)
    with events.guest() as guest:
        console.print("events: nanoseconds of each")
        costs = events.event_costs(guest, turns)
        console.print("losses: what the guest feels of us and of others")
        lost = losses.losses(guest, contenders.CONTENDERS, pairs)
    console.print("node_exporter")
    neighbour = node_exporter()
    console.print(f"scrapes of {sizes} VMs")
    scrapes = _scrapes(sizes)
    exits = []
    if not options.quick:
        console.print("instructions of an exit, in the lab")
        exits = _exits()
    verdicts = budgets.judged(
        (
            *budgets.of_events(costs), *budgets.of_exits(exits), *budgets.of_losses(lost),
            *budgets.of_scrapes(scrapes), *budgets.of_start(started),
        )
    )  # fmt: skip
    quiet = watch.quiet()
    tables = [
        report.of_verdicts(verdicts), report.of_machine(quiet, lost),
        report.of_events(costs), *report.of_exits(exits), report.of_losses(lost, neighbour),
        report.of_start(started),
        *report.of_scrapes(scrapes),
    ]  # fmt: skip
    report.show(tables, console)
    if output := document(options.output, whole=whole):
        output.parent.mkdir(exist_ok=True)
        output.write_text(report.markdown(tables, quiet.trouble))
        output.with_name("scale.md").write_text(scale.document(output.read_text()))
    return budgets.exit_code(verdicts, whole=whole)


if __name__ == "__main__":
    sys.exit(main())
