# SPDX-License-Identifier: Apache-2.0
"""What a whole run may measure, within every budget."""

from dataclasses import dataclass, replace
from typing import Any, TypeVar

from tests.bench import budgets
from tests.bench.budgets import Verdict
from tests.bench.contenders import EMULATOR, HARDWARE, NOTHING, OURS
from tests.bench.events import OPERATIONS, EventCost
from tests.bench.instructions import ExitCost
from tests.bench.losses import Loss
from tests.bench.scrape import SIZES, Cost, Window
from tests.bench.start import COLD, COMPILING, WARM, Start

MIB = 1 << 20

T = TypeVar("T", Start, EventCost, Loss, Cost)

STARTS = (
    Start(COLD, 1.4, None, 138 * MIB, True, 0.8, 0.4),
    Start(COMPILING, 1.1, (1.0, 1.2), 138 * MIB, True, 0.6, 0.4),
    Start(WARM, 0.5, (0.4, 0.6), 17 * MIB, True, 0.0, 0.3),
)
EVENTS = tuple(
    EventCost(operation, event, 52.0, 17.0, 43.0, (15.0, 19.0), {})
    for operation, (event, _) in OPERATIONS.items()
)
EXITS = (
    ExitCost(
        "pit_write",
        10_007,
        {"kvm_exit": (46, 236, 193), "kvm_entry": (46, 297, 196), "kvm_pio": (46, 168, 195)},
        1500, 2550, 2200,
    ),
    ExitCost(
        "serial_write",
        5_003,
        {"kvm_pio": (46, 170, 197), "kvm_userspace_exit": (46, 138, 199)},
        5000, 6400, 6100,
    ),
)  # fmt: skip
LOSSES = (
    Loss(NOTHING.name, 0.001, (-0.002, 0.003), 140_000),
    Loss(OURS.name, 0.076, (0.071, 0.081), 130_000, 0.7, 39 * MIB, 0.002),
    Loss(HARDWARE.name, 0.015, (0.014, 0.016), 138_000, 0.7, 39 * MIB, 0.002),
    Loss(EMULATOR.name, 0.06, (0.059, 0.061), 132_000, 0.3, 128 * MIB, 0.0),
)


def cost(vms: int) -> Cost:
    """Of a scrape of so many VMs: with each, as much more."""
    return Cost(
        vms=vms,
        per_vcpu=False,
        cpu_seconds=0.01 + 0.00044 * vms,
        cpu_interval=(0.009 + 0.00044 * vms, 0.011 + 0.00044 * vms),
        wall_seconds=0.012 + 0.00044 * vms,
        body_bytes=11_600 * vms,
        gzip_bytes=540 * vms,
        resident_bytes=46 * MIB + 36_000 * vms,
        peak_bytes=50 * MIB + 40_000 * vms,
        map_bytes=20 * MIB,
        series=138 * vms + 190,
        series_per_vm=138.0,
        by_metric={"kvm_vm_exits_total": 16.0, "kvm_vm_info": 1.0},
        by_collector={"exits": (55.0, 0.03), "io": (22.0, 0.04)},
        rest_seconds=0.05,
        refresh_seconds=600.0,
        first_visit_seconds=0.017,
        visit_seconds=0.003,
        window=Window(60.0, 0.023, 4, 0.92, 0, 0) if vms == 500 else None,
    )


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that one run measures."""

    starts: tuple[Start, ...] = STARTS
    events: tuple[EventCost, ...] = EVENTS
    exits: tuple[ExitCost, ...] = EXITS
    losses: tuple[Loss, ...] = LOSSES
    scrapes: tuple[Cost, ...] = tuple(cost(vms) for vms in SIZES)

    def verdicts(self) -> list[Verdict]:
        """On every promise."""
        return budgets.judged(
            (
                *budgets.of_events(self.events),
                *budgets.of_exits(self.exits),
                *budgets.of_losses(self.losses),
                *budgets.of_scrapes(self.scrapes),
                *budgets.of_start(self.starts),
            )
        )

    def with_start(self, kind: str, **changes: Any) -> "Run":
        """The same, but for the starts of one kind."""
        return replace(self, starts=changed(self.starts, "kind", kind, **changes))

    def with_event(self, operation: str, **changes: Any) -> "Run":
        """The same, but for the events of one operation."""
        return replace(self, events=changed(self.events, "operation", operation, **changes))

    def with_loss(self, what: str, **changes: Any) -> "Run":
        """The same, but for what one contender costs."""
        return replace(self, losses=changed(self.losses, "what", what, **changes))

    def with_scrape(self, vms: int, **changes: Any) -> "Run":
        """The same, but for the scrapes of one size."""
        return replace(self, scrapes=changed(self.scrapes, "vms", vms, **changes))


def changed(all_of_them: tuple[T, ...], key: str, value: object, **changes: Any) -> tuple[T, ...]:
    """Those, one with other values."""
    assert any(getattr(one, key) == value for one in all_of_them)
    return tuple(
        replace(one, **changes) if getattr(one, key) == value else one for one in all_of_them
    )
