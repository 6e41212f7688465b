# SPDX-License-Identifier: Apache-2.0
"""Panels on the details of hosts' clocks."""

from dashboards.generate import thresholds
from dashboards.generate.panel import Column, Panel, Query

_NO_HOST = "no chosen instance is a KVM host"

PANELS = (
    Panel(
        title="Clock steps",
        about="Clocks that were set rather than slewed in the last quarter of an hour. One after "
        "a boot is normal.",
        queries=(
            Query("increase(kvm_host_clock_steps_total{@host}[15m])", "host {{instance}}"),
            Query("increase(kvm_guest_clock_steps_total{@host}[15m])", "guest {{instance}}"),
        ),
        warn=1,
        empty="no clock can be asked",
        width=8,
    ),
    Panel(
        title="Cost of reading the clock",
        about="What a clock_gettime costs. Above the dashes each reading enters the kernel.",
        queries=(
            Query("kvm_host_clock_read_seconds{@host}", "host {{instance}}"),
            Query("kvm_guest_clock_read_seconds{@host}", "guest {{instance}}"),
        ),
        unit="s",
        warn=thresholds.CLOCK_READ_SECONDS,
        empty="no clock can be asked",
        width=8,
    ),
    Panel(
        title="Frequency adjustment",
        about="How much faster or slower the clock is made to run; 0 is left alone. Close to "
        "500 ppm NTP is at its limit.",
        queries=(Query("kvm_host_clock_frequency_adjustment_ratio{@host} - 1", "{{instance}}"),),
        unit="ppm",
        warn=thresholds.CLOCK_ADJUSTMENT_RATIO,
        centred=True,
        empty=_NO_HOST,
        width=8,
    ),
    Panel(
        title="How far clocks were set",
        about="All steps since the exporter started, by direction. A growing backward line is a "
        "fight between two "
        "daemons.",
        queries=(
            Query("kvm_host_clock_step_seconds_total{@host}", "host {{instance}} {{direction}}"),
            Query("kvm_guest_clock_step_seconds_total{@host}", "guest {{instance}} {{direction}}"),
        ),
        unit="s",
        empty="no clock can be asked",
        width=8,
    ),
    Panel(
        title="TSC features",
        kind="table",
        about="What processors' time stamp counters can do, on hosts and as guests see them. "
        "invariant missing: the "
        "TSC cannot be trusted for time.",
        queries=(
            Query(
                "kvm_host_tsc_feature{@host} or kvm_guest_tsc_feature{@host}",
                column=Column("Has it", "bool_yes_no"),
            ),
        ),
        hidden=("job",),
        empty="not an x86 system",
        width=8,
    ),
    Panel(
        title="Clocksources given up",
        kind="table",
        about="What the kernel's watchdog disqualified, and why, as far back as its log goes; "
        "and how changes are "
        "watched.",
        queries=(
            Query(
                "kvm_host_clocksource_unstable_info{@host} or "
                "kvm_host_clocksource_watch_info{@host}"
            ),
        ),
        hidden=("job",),
        empty="none",
        width=8,
    ),
    Panel(
        title="Clock facts",
        kind="table",
        about="TSC frequency (equal hosts have equal ones), how far TAI is ahead of UTC, and "
        "readings that "
        "were left out as impossible: a few are a known kernel glitch.",
        queries=(
            Query("kvm_host_tsc_frequency_hertz{@host}", column=Column("TSC", "hertz")),
            Query("kvm_host_clock_tai_offset_seconds{@host}", column=Column("TAI ahead", "s")),
            Query(
                "kvm_host_clock_rejected_readings_total{@host}",
                column=Column("Readings left out"),
            ),
        ),
        hidden=("job",),
        empty=_NO_HOST,
    ),
    Panel(
        title="KVM's clock and halt parameters",
        kind="table",
        about="Module parameters that decide over guests' clocks and halts; equal hosts should "
        "have equal ones.",
        queries=(Query("kvm_host_module_parameter{@host}", column=Column("Set to")),),
        hidden=("job",),
        empty="no KVM module is loaded",
    ),
    Panel(
        title="PTP clocks",
        kind="table",
        about="Hardware clocks of hosts: what chrony can take as a reference.",
        queries=(Query("kvm_host_ptp_device_info{@host}"),),
        hidden=("job",),
        empty="no PTP clock",
    ),
    Panel(
        title="Drift window",
        about="The time over which drift is measured: longer is more exact, shorter quicker.",
        queries=(Query("kvm_host_clock_drift_window_seconds{@host}", "{{instance}}"),),
        unit="s",
        empty=_NO_HOST,
    ),
)
