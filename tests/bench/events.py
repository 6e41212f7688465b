# SPDX-License-Identifier: Apache-2.0
"""What counting costs: nanoseconds an event.

The bare-metal guest makes known events. Run time is the kernel's own account of each program
(BPF_ENABLE_STATS, fdinfo), net of an empty program on the same tracepoint; each program by itself,
in turns, for side by side the first to run would pay for the caches of all.
"""

import functools
import statistics
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from tests.bench.contenders import (
    BPFTRACE,
    EVENTS,
    Attached,
    classic_runs,
    let_visit,
    program,
    run_statistics,
)
from tests.bench.noise import Interval, median_interval
from tests.guest import E1000, BareMetalGuest
from tests.kvm.exporter import Exporter

# operation → the event it makes, and how often it is made in a round
OPERATIONS = {
    "pit_write": ("kvm_pio", 20_000),
    "serial_write": ("kvm_pio", 5_000),
    "hpet_read": ("kvm_mmio", 5_000),
    "msr_read": ("kvm_msr", 20_000),
}
_ROUNDS = 3
_BOOT_SECONDS = 300.0

Runs = Callable[[], Mapping[str, tuple[float, float]]]
"""Event → (runs, nanoseconds)."""


@dataclass(frozen=True, slots=True)
class EventCost:
    """Nanoseconds an event, medians over turns and rounds, net of an empty program.

    Attributes:
        operation: what the guest did.
        event: the tracepoint.
        empty_ns: of the empty program, not net.
        ours_ns: of kvmexporter's.
        hash_ns: of a per-CPU hash keyed by (pid, reason).
        interval_ns: of kvmexporter's median, net as well.
        peers_ns: other contender → nanoseconds, of those that count this event.
    """

    operation: str
    event: str
    empty_ns: float
    ours_ns: float
    hash_ns: float
    interval_ns: Interval | None
    peers_ns: Mapping[str, float]

    @property
    def ratio(self) -> float:
        """Ours against the per-CPU hash."""
        return self.ours_ns / self.hash_ns


@contextmanager
def guest() -> Iterator[BareMetalGuest]:
    """The guest that makes the events."""
    with BareMetalGuest(name="bench", devices=E1000) as one:
        one.wait_ready(_BOOT_SECONDS)
        yield one


def event_costs(one: BareMetalGuest, turns: int) -> list[EventCost]:
    """Nanoseconds an event of each operation; every contender has so many turns."""
    found: dict[str, dict[str, list[float]]] = {"empty": {}, "hash": {}, "ours": {}, "bpftrace": {}}
    with run_statistics():
        for _ in range(turns):
            for kind in ("empty", "hash"):
                with Attached(kind) as peer:
                    take_turn(one, functools.partial(_of_kind, peer, kind), found[kind])
            with Exporter() as exporter:
                let_visit(exporter)
                take_turn(one, functools.partial(_our_runs, exporter), found["ours"])
            try:
                with program(BPFTRACE.command) as pid:
                    runs = functools.partial(_of_process, pid, "kvm_pio")
                    take_turn(one, runs, found["bpftrace"])
            except OSError:
                continue  # the table of what the guest loses says why
    return [cost_of(operation, event, found) for operation, (event, _) in OPERATIONS.items()]


def cost_of(
    operation: str, event: str, found: Mapping[str, Mapping[str, list[float]]]
) -> EventCost:
    """From nanoseconds by contender and operation."""
    empty, ours, hashed = (
        statistics.median(found[kind][operation]) for kind in ("empty", "ours", "hash")
    )
    peers = {
        name: statistics.median(of[operation]) - empty
        for name, of in (
            (contender.name, found.get(key, {})) for key, contender in (("bpftrace", BPFTRACE),)
        )
        if operation in of
    }
    net = median_interval([one - empty for one in found["ours"][operation]])
    return EventCost(operation, event, empty, ours - empty, hashed - empty, net, peers)


def take_turn(
    one: BareMetalGuest,
    runs: Runs,
    found: dict[str, list[float]],
    operations: Mapping[str, tuple[str, int]] = OPERATIONS,
) -> None:
    """Have the guest do every operation, and note nanoseconds of those events that are counted."""
    for operation, (event, count) in operations.items():
        for _ in range(_ROUNDS):
            before = runs()
            if event not in before:
                break
            one.run(**{operation: count})
            times, nanoseconds = (
                after - earlier for after, earlier in zip(runs()[event], before[event], strict=True)
            )
            assert times >= count, f"{event}: {times} runs of {count}"
            found.setdefault(operation, []).append(nanoseconds / times)


def _of_kind(peer: Attached, kind: str) -> dict[str, tuple[float, float]]:
    return {name.removeprefix(f"{kind}:"): value for name, value in peer.runs().items()}


def _of_process(pid: int, event: str) -> dict[str, tuple[float, float]]:
    return {event: classic_runs(pid)}


def _our_runs(exporter: Exporter) -> dict[str, tuple[float, float]]:
    scrape = exporter.scrape()
    return {
        event: (
            scrape.sum("kvmexporter_bpf_program_runs_total", tracepoint=event),
            scrape.sum("kvmexporter_bpf_program_run_seconds_total", tracepoint=event) * 1e9,
        )
        for event in EVENTS
    }
