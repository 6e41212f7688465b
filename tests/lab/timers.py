# SPDX-License-Identifier: Apache-2.0
"""One window on a guest's timers, seen by the exporter and by the kernel's own histograms."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.lab.exporter import Exporter, Scrape
from tests.lab.window import Pausable
from tests.lab.witness import EventCount

TMICT_WRITES = "rw == 1 && reg == 0x380 && val != 0"
HALF = 1 << 63


@dataclass(frozen=True, slots=True)
class Timers:
    """What moved between two pauses of a guest.

    Attributes:
        before: the scrape at its start.
        after: the scrape at its end.
        expired: the kernel's count of kvm_wait_lapic_expire by delta, cycles.
        states: that of kvm_hv_timer_state by whether the hardware runs the timer.
        counts: that of writes to the APIC's initial count.
    """

    before: Scrape
    after: Scrape
    expired: Counter[int]
    states: Counter[bool]
    counts: int

    def moved(self, name: str, **labels: str) -> float:
        """How far the series that match moved, together."""
        return self.after.total(name, **labels) - self.before.total(name, **labels)


def watch(exporter: Exporter, guest: Pausable, work: Callable[[], object]) -> Timers:
    """Run `work` while both count; the guest is paused at both ends, and runs again after."""
    guest.pause()
    tids = guest.vcpu_tids
    with (
        EventCount("kvm_wait_lapic_expire", "common_pid", "delta") as expired,
        EventCount("kvm_hv_timer_state", "common_pid", "hv_timer_in_use") as states,
        EventCount("kvm_apic", "common_pid", condition=TMICT_WRITES) as counts,
    ):
        before = exporter.scrape()
        guest.resume()
        work()
        guest.pause()
        after = exporter.scrape()
    guest.resume()
    deltas: Counter[int] = Counter()
    for (tid, delta), count in expired.read().items():
        if tid in tids:
            deltas[(delta + HALF) % (2 * HALF) - HALF] += count
    by_state: Counter[bool] = Counter()
    for (tid, state), count in states.read().items():
        if tid in tids:
            by_state[bool(state)] += count
    return Timers(before, after, deltas, by_state, counts.total(list(tids)))


def check(seen: Timers, vm: str) -> None:
    """Lateness, early ones apart, and who runs the timers: as the kernel counts them."""
    fired = seen.expired.total()
    early = sum(count for delta, count in seen.expired.items() if delta < 0)
    assert seen.moved("kvm_vm_timer_lateness_seconds_count", vm=vm) == fired
    assert seen.moved("kvm_vm_timer_early_total", vm=vm) == early
    # Of the exporter's own reckoning, by a frequency that it measured.
    late_cycles = sum(delta * count for delta, count in seen.expired.items() if delta > 0)
    early_cycles = -sum(delta * count for delta, count in seen.expired.items() if delta < 0)
    late = seen.moved("kvm_vm_timer_lateness_seconds_sum", vm=vm)
    ahead = seen.moved("kvm_vm_timer_early_seconds_total", vm=vm)
    if late_cycles and early_cycles:
        assert late / late_cycles == pytest.approx(ahead / early_cycles, rel=0.02)
    for cycles, seconds in ((late_cycles, late), (early_cycles, ahead)):
        if cycles > 1_000_000:
            assert 1e8 < cycles / seconds < 1e10
    for state, name in ((True, "hardware"), (False, "software")):
        assert seen.moved("kvm_vm_hv_timer_switches_total", vm=vm, state=name) == seen.states[state]
    assert seen.moved("kvm_vm_apic_timer_arms_total", vm=vm) == seen.counts
