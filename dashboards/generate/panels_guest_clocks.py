# SPDX-License-Identifier: Apache-2.0
"""Panels on the clocks of guests that run an exporter of their own."""

from dashboards.generate import thresholds
from dashboards.generate.panel import PRESENT, Column, Panel, Query

_NO_GUEST = "no exporter runs inside a guest here"

PANELS = (
    Panel(
        title="Guest clocksource",
        kind="state",
        about="What guests read their time from. kvm-clock, tsc or hyperv's page are cheap; hpet "
        "and acpi_pm exit "
        "at each reading.",
        queries=(
            Query(
                "max by (job, instance, clocksource) (kvm_guest_clocksource_info{@host, "
                'state="current"})',
                "{{instance}}: {{clocksource}}",
            ),
        ),
        texts=PRESENT,
        empty=_NO_GUEST,
        width=8,
    ),
    Panel(
        title="Guest timer",
        kind="state",
        about="The timer of guests' CPUs. lapic-deadline is the TSC-deadline timer; lapic alone: "
        "start the VM with "
        "-cpu host.",
        queries=(
            Query(
                "max by (job, instance, clockevent) (kvm_guest_clockevent_info{@host})",
                "{{instance}}: {{clockevent}}",
            ),
        ),
        texts=PRESENT,
        empty=_NO_GUEST,
        width=8,
    ),
    Panel(
        title="Steal in guests",
        about="Share of a CPU's time for which it had work and the host ran something else, as the "
        "guest's kernel counts it. Compare with Steal by VM.",
        queries=(
            Query(
                "rate(kvm_guest_steal_seconds_total{@host}[$__rate_interval]) / "
                "kvm_guest_cpus{@host}",
                "{{instance}}",
            ),
        ),
        unit="percentunit",
        warn=thresholds.STEAL,
        empty=_NO_GUEST,
        width=8,
    ),
    Panel(
        title="Paravirtual features in guests",
        kind="table",
        about="What the host offers the guest, by QEMU's names: 1 is yes. kvmclock and "
        "kvmclock-stable-bit off: the "
        "guest's time is worse than it needs to be.",
        queries=(
            Query("kvm_guest_paravirtual_feature{@host}", column=Column("Offered", "bool_yes_no")),
        ),
        hidden=("job",),
        empty=_NO_GUEST,
    ),
    Panel(
        title="How guests are compared with their host",
        kind="table",
        about="The source of each offset. precise reads one counter for both clocks; the others "
        "are round trips.",
        queries=(Query("kvm_guest_clock_offset_method_info{@host}"),),
        hidden=("job",),
        empty=_NO_GUEST,
    ),
    Panel(
        title="VMClock devices",
        kind="table",
        about="What the hypervisor says of its own clock through VMClock.",
        queries=(Query("kvm_guest_vmclock_info{@host}"),),
        hidden=("job",),
        empty="no guest has a VMClock device",
        width=8,
    ),
    Panel(
        title="VMClock error",
        about="How wrong the hypervisor thinks its clock was, and can have been at most; and how "
        "soon it announces "
        "a disruption, a migration for example.",
        queries=(
            Query("kvm_guest_vmclock_estimated_error_seconds{@host}", "{{instance}} estimated"),
            Query("kvm_guest_vmclock_max_error_seconds{@host}", "{{instance}} at most"),
            Query(
                "kvm_guest_vmclock_disruption_within_seconds{@host}",
                "{{instance}} disruption within",
            ),
        ),
        unit="s",
        empty="no guest has a VMClock device",
        width=8,
    ),
    Panel(
        title="Counter disruptions",
        about="Times that the hypervisor disrupted guests' counters in the last hour: a "
        "migration or a restore. "
        "Software that caches the time must start anew.",
        queries=(
            Query("increase(kvm_guest_vmclock_disruptions_total{@host}[1h])", "{{instance}}"),
        ),
        empty="no guest has a VMClock device",
        width=8,
    ),
)
