# SPDX-License-Identifier: Apache-2.0
"""The guest's timers: armed exactly as often as it did, and late as the kernel's own trace says."""

import re
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.guest import BareMetalGuest
from tests.guest.kernel_trace import KernelTrace, recording
from tests.guest.requirements import require_kernel_trace, require_kvm
from tests.kvm.exporter import Exporter, Scrape
from tests.kvm.settling import Key, moved, settled

VM = "alarmed"
TRACED = ("kvm_wait_lapic_expire", "kvm_hv_timer_state")
METRICS = (
    "kvm_vm_tsc_deadline_arms_total",
    "kvm_vm_apic_timer_arms_total",
    "kvm_vm_timer_lateness_seconds_count",
    "kvm_vm_timer_early_total",
)


@pytest.fixture(scope="module")
def exporter() -> Iterator[Exporter]:
    require_kvm()
    require_kernel_trace()
    with Exporter() as running:
        yield running


@pytest.fixture(scope="module")
def guest(exporter: Exporter) -> Iterator[BareMetalGuest]:
    with BareMetalGuest(VM) as machine:
        machine.wait_ready()
        settled(exporter, counts)
        yield machine


def counts(scrape: Scrape) -> Counter[Key]:
    """(metric,) → value, of the one VM."""
    found: Counter[Key] = Counter()
    for name in METRICS:
        found[name,] += int(scrape.sum(name, vm=VM))
    for state in ("hardware", "software"):
        metric = "kvm_vm_hv_timer_switches_total"
        found[metric, state] += int(scrape.sum(metric, vm=VM, state=state))
    return found


def traced(trace: KernelTrace) -> Counter[Key]:
    """The same of the kernel's trace, all but the arms."""
    found: Counter[Key] = Counter()
    for event in trace.events:
        if event.name == "kvm_wait_lapic_expire":
            found["kvm_vm_timer_lateness_seconds_count",] += 1
            found["kvm_vm_timer_early_total",] += "(early)" in event.text
        else:
            in_use = re.search(r"hv_timer (\d)", event.text)
            assert in_use, event.text
            state = "hardware" if int(in_use[1]) else "software"
            found["kvm_vm_hv_timer_switches_total", state] += 1
    return +found


@pytest.mark.parametrize(("operation", "number"), [("tsc_deadline", 67), ("timer", 53)])
def test_arms_and_lateness(
    exporter: Exporter, guest: BareMetalGuest, operation: str, number: int
) -> None:
    """A prime number of deadlines is that many arms; what fired, and how, is what KVM traced."""
    traces: list[KernelTrace] = []

    def work() -> None:
        with recording(guest.vcpu_tids, TRACED) as trace:
            guest.run_text(f"{operation}={number}")
        traces.append(trace)

    seen = moved(exporter, counts, work)
    assert seen == traced(traces[0]) | {("kvm_vm_tsc_deadline_arms_total",): number}
