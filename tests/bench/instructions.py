# SPDX-License-Identifier: Apache-2.0
"""What exits cost on a host with SVM, in instructions: exact, however busy this machine is.

    python -m tests.lab.boot --kernel 6.12 --tsc reliable --count-instructions \
        --results lab-results/bench -- python -m tests.bench.instructions OUTPUT

writes JSON. Inside that host each instruction takes a nanosecond and a cycle of the TSC, so that
the kernel's own account of BPF programs is one of instructions, and so is the guest's of what it
did: its own few, KVM's, and the VMM's where that is asked. What entering and leaving guest mode
takes a processor is no instruction, and so not in it.
"""

import json
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.contenders import Attached, let_visit, run_statistics
from tests.guest import BareMetalGuest
from tests.kvm.exporter import Exporter
from tests.lab.bare_metal import booted

VM = "bench"
EVENTS = ("kvm_exit", "kvm_entry", "kvm_pio", "kvm_userspace_exit")
OPERATIONS = {"pit_write": 10_007, "serial_write": 5_003}
_ROUNDS = 5
_EMPTY, _HASH = "empty", "hash"

Runs = Mapping[str, tuple[float, float]]
"""Event → (runs, nanoseconds)."""


@dataclass(frozen=True, slots=True)
class ExitCost:
    """Instructions of one kind of exit, medians over some rounds.

    Attributes:
        operation: what the guest did.
        count: how often, in a round.
        events: event → instructions of (an empty program, ours, a per-CPU hash) each time.
        alone: from one operation to the next, with nothing attached.
        with_ours: the same with kvmexporter.
        with_hash: and with a per-CPU hash on the same events.
    """

    operation: str
    count: int
    events: Mapping[str, tuple[float, float, float]]
    alone: float
    with_ours: float
    with_hash: float

    @property
    def loss(self) -> float:
        """The share of its rate that the guest loses to kvmexporter."""
        return 1 - self.alone / self.with_ours


class _Taken:
    """What was measured with one thing attached: (operation, event or "") → instructions."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], list[float]] = {}

    def measure(self, guest: BareMetalGuest, runs: Callable[[], Runs]) -> None:
        """Have the guest do every operation some times."""
        for operation, count in OPERATIONS.items():
            guest.run(**{operation: count})  # the first time, caches are cold
            for _ in range(_ROUNDS):
                before = runs()
                result = guest.run(**{operation: count})
                after = runs()
                self._found.setdefault((operation, ""), []).append(result.tsc_cycles / count)
                for event, (times, nanoseconds) in after.items():
                    made = times - before[event][0]
                    if made >= count:
                        each = (nanoseconds - before[event][1]) / made
                        self._found.setdefault((operation, event), []).append(each)

    def median(self, operation: str, event: str = "") -> float:
        """Instructions of an operation, or of the program on one of its events."""
        return statistics.median(self._found[operation, event])

    def events(self, operation: str) -> list[str]:
        """Those that an operation makes each time."""
        return [event for event in EVENTS if (operation, event) in self._found]


def exit_costs(guest: BareMetalGuest) -> list[ExitCost]:
    """What each operation costs with nothing, with kvmexporter and with its peers attached."""
    alone, ours = _Taken(), _Taken()
    peers = {kind: _Taken() for kind in (_EMPTY, _HASH)}
    alone.measure(guest, dict)
    with run_statistics():
        for kind, taken in peers.items():
            with _attached(kind) as runs:
                taken.measure(guest, runs)
        with Exporter() as exporter:
            let_visit(exporter)
            ours.measure(guest, lambda: _our_runs(exporter))
    # The account itself is instructions, too: what the guest feels is measured without it.
    felt = _Taken()
    with Exporter() as exporter:
        let_visit(exporter)
        felt.measure(guest, dict)
    hashed = _Taken()
    with _attached(_HASH):
        hashed.measure(guest, dict)
    return [
        ExitCost(
            operation,
            count,
            {
                event: (
                    peers[_EMPTY].median(operation, event),
                    ours.median(operation, event),
                    peers[_HASH].median(operation, event),
                )
                for event in ours.events(operation)
            },
            alone.median(operation),
            felt.median(operation),
            hashed.median(operation),
        )
        for operation, count in OPERATIONS.items()
    ]


@contextmanager
def _attached(kind: str) -> Iterator[Callable[[], Runs]]:
    with Attached(kind, EVENTS) as peer:
        yield lambda: {name.removeprefix(f"{kind}:"): value for name, value in peer.runs().items()}


def _our_runs(exporter: Exporter) -> Runs:
    scrape = exporter.scrape()
    return {
        event: (
            scrape.sum("kvmexporter_bpf_program_runs_total", tracepoint=event),
            scrape.sum("kvmexporter_bpf_program_run_seconds_total", tracepoint=event) * 1e9,
        )
        for event in EVENTS
    }


def main(output: Path) -> None:
    """Measure, inside the lab's host."""
    with booted(VM) as guest:
        costs = exit_costs(guest)
    for cost in costs:
        print(cost, f"loss {cost.loss:.2%}", flush=True)
    output.write_text(json.dumps([asdict(cost) for cost in costs]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
