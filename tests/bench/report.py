# SPDX-License-Identifier: Apache-2.0
"""What was measured, as tables: for people on a terminal, and for `docs/benchmarks.md`."""

import math
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from kvmexporter.collectors.memory import MOST_VMS
from kvmexporter.collectors.scheduling import MOST_THREADS
from tests.bench.budgets import Verdict
from tests.bench.contenders import BPFTRACE, CONTENDERS, NOTHING
from tests.bench.events import EventCost
from tests.bench.fleet import VCPUS
from tests.bench.instructions import ExitCost
from tests.bench.losses import INTERVAL_SECONDS, Loss
from tests.bench.machine import Quiet
from tests.bench.noise import words
from tests.bench.peers.neighbours import MISSES, Neighbour
from tests.bench.scrape import Cost
from tests.bench.start import Start

_MIB = 1 << 20
_KIB = 1 << 10
_NO_COLLECTOR = "no collector: maps read, metrics rendered and compressed, the answer sent"


@dataclass(frozen=True, slots=True)
class Rows:
    """One table."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def of_verdicts(verdicts: Sequence[Verdict]) -> Rows:
    """The budgets."""
    return Rows(
        "Budgets",
        ("of", "measured", "at most", "kept", "in detail"),
        tuple(
            (
                one.budget.what,
                "not measured" if one.measured is None else f"{one.measured:.3g} {one.budget.unit}",
                "no budget"
                if one.budget.most is None
                else f"{one.budget.most:.3g} {one.budget.unit}",
                _kept(one),
                one.because,
            )
            for one in verdicts
        ),
    )


def _kept(one: Verdict) -> str:
    if not one.kept:
        return "NO"
    return "-" if one.budget.most is None else "yes"


def of_scrapes(costs: Sequence[Cost]) -> list[Rows]:
    """Scrapes by size, and the series of one VM by collector and by metric."""
    found = [
        Rows(
            "A scrape, by VMs of 8 vCPUs and five devices",
            (
                "VMs",
                "per vCPU",
                "without",
                "CPU",
                "wall",
                "text",
                "gzip",
                "resident",
                "peak",
                "BPF maps",
                "series",
                "per VM",
                "each visited every",
            ),
            tuple(
                (
                    f"{one.vms:,}",
                    "on" if one.per_vcpu else "off",
                    one.without or "-",
                    f"{one.cpu_seconds * 1e3:.0f} ms{words(one.cpu_interval, 1e3)}",
                    f"{one.wall_seconds * 1e3:.0f} ms",
                    f"{one.body_bytes / _MIB:.1f} MiB",
                    f"{one.gzip_bytes / _KIB:.0f} KiB",
                    f"{one.resident_bytes / _MIB:.0f} MiB",
                    f"{one.peak_bytes / _MIB:.0f} MiB",
                    f"{one.map_bytes / _MIB:.1f} MiB",
                    f"{one.series:,}",
                    f"{one.series_per_vm:.0f}",
                    f"{one.refresh_seconds:.0f} s",
                )
                for one in costs
            ),
        )
    ]
    plain = [one for one in costs if one.is_default]
    if plain:
        last = plain[-1]
        found.append(
            Rows(
                f"By collector, {last.vms:,} VMs",
                ("collector", "series of a VM", "time of a scrape, median"),
                (
                    *(
                        (name, f"{series:.1f}", f"{seconds * 1e3:.1f} ms")
                        for name, (series, seconds) in last.by_collector.items()
                    ),
                    (_NO_COLLECTOR, "-", f"{last.rest_seconds * 1e3:.1f} ms"),
                    ("the whole", f"{last.series_per_vm:.1f}", f"{last.wall_seconds * 1e3:.1f} ms"),
                ),
            )
        )
        by_metric = sorted(last.by_metric.items(), key=lambda one: -one[1])
        rows = tuple((f"`{name}`", f"{series:.1f}") for name, series in by_metric)
        found.append(Rows("Series of one VM, by metric", ("metric", "series"), rows))
    return found


def of_events(costs: Sequence[EventCost]) -> Rows:
    """Nanoseconds an event."""
    return Rows(
        "Nanoseconds an event, net of an empty program",
        ("event", "made by", "empty", "kvmexporter", "per-CPU hash", "ratio", "bpftrace"),
        tuple(
            (
                one.event,
                one.operation,
                f"{one.empty_ns:.0f}",
                f"{one.ours_ns:.0f}{words(one.interval_ns)}",
                f"{one.hash_ns:.0f}",
                f"{one.ratio:.2f}",
                f"{peer:.0f}" if (peer := one.peers_ns.get(BPFTRACE.name)) else "",
            )
            for one in costs
        ),
    )


def of_exits(costs: Sequence[ExitCost]) -> list[Rows]:
    """Instructions of an exit, by program and in all."""
    if not costs:
        return []
    rows: list[tuple[str, ...]] = []
    for cost in costs:
        rows += [
            (cost.operation, event, *(f"{each:.0f}" for each in each_of))
            for event, each_of in cost.events.items()
        ]
        whole = (cost.alone, cost.with_ours, cost.with_hash)
        rows.append((cost.operation, "the whole exit", *(f"{each:.0f}" for each in whole)))
    return [
        Rows(
            "Instructions of an exit, with SVM that the lab emulates: of a program, its account of "
            "46 included, beside an empty one; of the whole, without that account, beside nothing "
            "attached",
            ("operation", "of", "empty, nothing", "kvmexporter", "per-CPU hash"),
            tuple(rows),
        )
    ]


def of_losses(losses: Sequence[Loss], neighbour: Neighbour) -> Rows:
    """What others take, and what the guest feels of it."""
    misses = {one.name: one.misses for one in CONTENDERS}
    rows = []
    for one in losses:
        if one.trouble:
            rows.append((one.what, one.trouble, "", "", "", misses[one.what]))
            continue
        attached = one.resident_bytes > 0
        rows.append(
            (
                one.what,
                f"{one.loss * 100:.1f} %{words(one.interval, 100, 1)}",
                ("-" if one.start_seconds is None else f"{one.start_seconds:.1f} s")
                if attached
                else "",
                f"{one.resident_bytes / _MIB:.0f} MiB" if attached else "",
                f"{one.share * 100:.2f} %" if attached else "",
                _offset(one) if one.what == NOTHING.name else misses[one.what],
            )
        )
    rows.append(
        (
            neighbour.what,
            neighbour.trouble or "nothing attached",
            f"{neighbour.start_seconds:.1f} s",
            f"{neighbour.resident_bytes / _MIB:.0f} MiB",
            f"{neighbour.share * 100:.2f} %",
            MISSES,
        )
    )
    return Rows(
        "Beside others",
        (
            "what",
            "the guest loses",
            "start",
            "memory",
            "of a core, a scrape every 15 s where it can be scraped",
            "what it misses",
        ),
        tuple(rows),
    )


def _offset(nothing: Loss) -> str:
    """What the guest's rate against itself says of all others."""
    if nothing.is_noise:
        return ""
    return "differs from zero by more than its noise: all others may be off by as much"


def of_start(starts: Sequence[Start]) -> Rows:
    """The start."""
    return Rows(
        "The start",
        ("exec to first scrape", "takes", "of it the loader", "its peak memory"),
        tuple(
            (
                start.kind,
                f"{start.seconds:.2f} s{words(start.interval, 1, 2)}",
                f"{start.loader_seconds:.1f} s",
                (
                    "not seen"
                    if start.loader_bytes is None
                    else f"{start.loader_bytes / _MIB:.0f} MiB"
                )
                + (", gone after" if start.loader_gone else ", LEFT BEHIND"),
            )
            for start in starts
        ),
    )


def of_machine(quiet: Quiet, losses: Sequence[Loss]) -> Rows:
    """How much of what was measured is the machine's noise."""
    noise = next((one for one in losses if one.what == NOTHING.name), None)
    return Rows(
        "The machine's noise",
        ("load before", "after", "stolen", "taken by others", "rate against itself", "run"),
        (
            (
                f"{quiet.load_before:.1f}",
                f"{quiet.load_after:.1f}",
                f"{quiet.stolen_share * 100:.1f} %",
                f"{quiet.others_share * 100:.0f} %",
                f"{noise.loss * 100:+.1f} %{words(noise.interval, 100, 1)}" if noise else "",
                f"{quiet.seconds / 60:.0f} min",
            ),
        ),
    )


def show(tables: Sequence[Rows], console: Console) -> None:
    """Print them."""
    for one in tables:
        table = Table(title=one.title, title_justify="left")
        for column in one.columns:
            table.add_column(column)
        for row in one.rows:
            table.add_row(*row)
        console.print(table)


def markdown(tables: Sequence[Rows], trouble: str = "") -> str:
    """`docs/benchmarks.md`.

    Args:
        tables: what was measured.
        trouble: why that is to be doubted, "" if it is not.
    """
    lines = [
        "# What it costs",
        "",
        "Made by `make bench`: do not edit. Ratios within one run and medians of repeated ones;",
        "what follows one in brackets is the 95 % bootstrap interval of that median; what was",
        "measured once has none. The VMs of a scrape are real processes with real KVM",
        "descriptors and vCPU threads that run nothing; their counters and their QEMU's answers",
        "are those of one recorded Linux guest, and are",
        "read through the BPF maps and QMP sockets as any other's. Of its scrapes those",
        "count before and after which a known piece of work took no longer than it ever does: a",
        "neighbour on the same core makes all work slower, and no counter of this machine tells.",
        "",
        "Nothing here was measured on a processor with VMX or SVM that runs guests itself: the",
        "nanoseconds are of a host whose KVM emulates instructions, where `kvm_exit` and",
        "`kvm_entry` never fire; the instructions are of the lab, a host with SVM that is emulated",
        "in software, and say nothing of time.",
        "",
        f"A scrape reads the times of at most {MOST_THREADS:,} threads and the memory of at most",
        f"{MOST_VMS} VMs' processes, the rest with the next ones: with 1,000 VMs of {VCPUS} vCPUs",
        f"times are read anew every {_turn(1000 * VCPUS, MOST_THREADS)} and memory every "
        f"{_turn(1000, MOST_VMS)}, scraped every {INTERVAL_SECONDS:.0f} s. What QEMU says of",
        "devices gets as old as the last column of the table of scrapes has it.",
        "",
        f"{time.strftime('%Y-%m-%d')}, Linux {platform.release()}, {_processor()}.",
    ]
    if trouble:
        lines += ["", f"**{trouble}**"]
    for one in tables:
        lines += ["", f"## {one.title}", ""]
        lines.append(f"| {' | '.join(one.columns)} |")
        lines.append(f"|{' --- |' * len(one.columns)}")
        lines += [f"| {' | '.join(row)} |" for row in one.rows]
    return "\n".join(lines) + "\n"


def _turn(all_of_them: int, a_scrape: int) -> str:
    """How long it takes until the turn of the same one comes again."""
    return f"{math.ceil(all_of_them / a_scrape) * INTERVAL_SECONDS:.0f} s"


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return f"{len(names)} processors, {names[0]}" if names else platform.machine()
