# SPDX-License-Identifier: Apache-2.0
"""What was measured, as tables: for people on a terminal, and for `docs/benchmarks.md`."""

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.budgets import Verdict
from tests.bench.contenders import BPFTRACE, CONTENDERS, NOTHING
from tests.bench.events import EventCost
from tests.bench.instructions import ExitCost
from tests.bench.losses import Loss
from tests.bench.machine import Quiet
from tests.bench.peers.neighbours import MISSES, Neighbour
from tests.bench.scrape import Cost
from tests.bench.start import Start

_MIB = 1 << 20
_KIB = 1 << 10


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
                one.what,
                f"{one.measured:.3g} {one.unit}",
                f"{one.most:.3g} {one.unit}",
                "yes" if one.kept else "NO",
                one.because,
            )
            for one in verdicts
        ),
    )


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
                "±",
                "wall",
                "text",
                "gzip",
                "server",
                "series",
                "per VM",
            ),
            tuple(
                (
                    f"{one.vms:,}",
                    "on" if one.per_vcpu else "off",
                    one.without or "-",
                    f"{one.cpu_seconds * 1e3:.0f} ms",
                    f"{one.cpu_spread * 1e3:.0f} ms",
                    f"{one.wall_seconds * 1e3:.0f} ms",
                    f"{one.body_bytes / _MIB:.1f} MiB",
                    f"{one.gzip_bytes / _KIB:.0f} KiB",
                    f"{one.resident_bytes / _MIB:.0f} MiB",
                    f"{one.series:,}",
                    f"{one.series_per_vm:.0f}",
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
                ("collector", "series of a VM", "time of a scrape"),
                tuple(
                    (name, f"{series:.1f}", f"{seconds * 1e3:.1f} ms")
                    for name, (series, seconds) in last.by_collector.items()
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
        ("event", "made by", "empty", "kvmexporter", "±", "per-CPU hash", "ratio", "bpftrace"),
        tuple(
            (
                one.event,
                one.operation,
                f"{one.empty_ns:.0f}",
                f"{one.ours_ns:.0f}",
                f"{one.noise_ns:.0f}",
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
            "Instructions of an exit, with SVM: of a program, its account of 46 included, beside "
            "an empty one; of the whole, without that account, beside nothing attached",
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
                f"{one.loss * 100:.1f} % ± {one.noise * 100:.1f}",
                f"{one.start_seconds:.1f} s" if attached else "",
                f"{one.resident_bytes / _MIB:.0f} MiB" if attached else "",
                f"{one.share * 100:.2f} %" if attached else "",
                misses[one.what],
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
        ("what", "the guest loses", "start", "memory", "of a core", "what it misses"),
        tuple(rows),
    )


def of_start(starts: Sequence[Start]) -> Rows:
    """The start."""
    return Rows(
        "The start",
        ("exec to first scrape", "takes", "of it the loader", "its peak memory"),
        tuple(
            (
                start.kind,
                f"{start.seconds:.1f} s ± {start.spread_seconds:.1f}",
                f"{start.loader_seconds:.1f} s",
                f"{start.loader_bytes / _MIB:.0f} MiB, "
                + ("gone after" if start.loader_gone else "LEFT BEHIND"),
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
                f"{noise.loss * 100:+.1f} % ± {noise.noise * 100:.1f}" if noise else "",
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


def markdown(tables: Sequence[Rows]) -> str:
    """`docs/benchmarks.md`."""
    lines = [
        "# What it costs",
        "",
        "Made by `make bench`: do not edit. Ratios within one run and medians of repeated ones;",
        "what follows ± is the noise. The VMs of a scrape are real processes with real KVM",
        "descriptors and vCPU threads that run nothing; their counters and their QEMU's answers",
        "are those of one recorded Linux guest, and are",
        "read through the BPF maps and QMP sockets as any other's.",
        "",
        f"{time.strftime('%Y-%m-%d')}, Linux {platform.release()}, {_processor()}.",
    ]
    for one in tables:
        lines += ["", f"## {one.title}", ""]
        lines.append(f"| {' | '.join(one.columns)} |")
        lines.append(f"|{' --- |' * len(one.columns)}")
        lines += [f"| {' | '.join(row)} |" for row in one.rows]
    return "\n".join(lines) + "\n"


def _processor() -> str:
    text = Path("/proc/cpuinfo").read_text()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if "model name" in line]
    return f"{len(names)} processors, {names[0]}" if names else platform.machine()
