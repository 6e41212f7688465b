# SPDX-License-Identifier: Apache-2.0
"""Courses of events for the alerts on clocks."""

from typing import Final

from dashboards.generate.promtool import Case

_BUILD = 'kvmexporter_build_info{version="0.1.0",python="3.11.2"}'
_CPU = "process_cpu_seconds_total"
_LONG = {_BUILD: "1x200", _CPU: "900+0.1x200"}
_CHANGES = 'kvm_host_clocksource_changes_total{from="tsc",to="hpet"}'
_GUEST_CHANGES = 'kvm_guest_clocksource_changes_total{from="tsc",to="kvm-clock"}'
_CHANGED = (
    ({"from": "tsc", "to": "hpet"}, "Host host-1 changed its clocksource from tsc to hpet"),
)

CASES: Final[dict[str, tuple[Case, ...]]] = {
    "KvmHostClocksourceNotTsc": (
        Case(
            about="the host runs on its HPET",
            series={'kvm_host_clocksource_info{clocksource="hpet",state="current"}': "1x60"},
            fires=(
                (
                    {"clocksource": "hpet"},
                    "Host host-1 keeps time by hpet instead of the processor's own counter",
                ),
            ),
        ),
        Case(
            about="the HPET is there, and the TSC in use",
            series={
                'kvm_host_clocksource_info{clocksource="hpet",state="available"}': "1x60",
                'kvm_host_clocksource_info{clocksource="tsc",state="current"}': "1x60",
            },
        ),
        Case(
            about="a host that is a guest of Hyper-V",
            series={
                'kvm_host_clocksource_info{clocksource="hyperv_clocksource_tsc_page",'
                'state="current"}': "1x60"
            },
        ),
    ),
    "KvmHostClocksourceChanged": (
        Case(
            about="the first change ever",
            series={_BUILD: "1x60", _CHANGES: "_x30 1x30"},
            fires=_CHANGED,
        ),
        Case(
            about="a second change of the same kind",
            series={_CHANGES: "1x90 2x20"},
            at="50m",
            fires=_CHANGED,
        ),
        Case(
            about="the same change again, an hour after the exporter was started anew",
            series={_BUILD: "1x300", _CHANGES: "_x30 1x60 stale _x120 1x40"},
            at="108m",
            fires=_CHANGED,
        ),
        Case(
            about="the same change again, eight minutes after the exporter was started anew",
            series={_BUILD: "1x100", _CHANGES: "_x20 1x30 stale _x15 1x30"},
            at="43m",
            fires=_CHANGED,
        ),
        Case(
            about="the first change, minutes after the first scrape",
            series={_BUILD: "1x60", _CHANGES: "_x10 1x50"},
            at="17m",
            fires=_CHANGED,
        ),
        Case(
            about="a change long ago",
            series={_BUILD: "1x120", _CHANGES: "_x30 1x90"},
            at="50m",
        ),
        Case(
            about="an old change on an exporter that is scraped for the first time",
            series={_BUILD: "_x30 1x30", _CHANGES: "_x30 1x30"},
        ),
        Case(
            about="the exporter was away for minutes",
            series={_BUILD: "1x60 _x40 1x40", _CHANGES: "1x60 _x40 1x40"},
            at="60m",
        ),
    ),
    "KvmHostClockUnsynchronized": (
        Case(
            about="no daemon for a quarter of an hour",
            series={"kvm_host_clock_synchronized": "1x10 0x40"},
            fires=(({}, "The clock of host host-1 is not synchronised to any reference"),),
        ),
        Case(
            about="a daemon that was restarted",
            series={"kvm_host_clock_synchronized": "1x20 0x10 1x40"},
        ),
    ),
    "KvmHostClockOffsetHigh": (
        Case(
            about="a quarter of a second behind, for long",
            series={"kvm_host_clock_offset_seconds": "0.25x60"},
            fires=(({}, "The clock of host host-1 is 250ms off its reference"),),
        ),
        Case(
            about="a quarter of a second ahead, and an impossible reading among the others",
            series={"kvm_host_clock_offset_seconds": "-0.25x26 4.294967296 -0.25x30"},
            at="20m",
            fires=(({}, "The clock of host host-1 is 250ms off its reference"),),
        ),
        Case(
            about="off for half of the readings",
            series={"kvm_host_clock_offset_seconds": " ".join(["0.4", "0"] * 30)},
        ),
        Case(
            about="adjtimex's impossible 2^32 ns, now and then",
            series={
                "kvm_host_clock_offset_seconds": "0.0001x10 4.294967296 0.0001x4 4.294967296 "
                "0.0001x4 "
                "4.294967296 0.0001x4 4.294967296 0.0001x4 4.294967296 0.0001x20"
            },
        ),
    ),
    "KvmHostClockErrorHigh": (
        Case(
            about="nobody disciplines the clock",
            series={"kvm_host_clock_max_error_seconds": "0.4+0.015x80"},
            at="35m",
            fires=(({}, "The clock of host host-1 can be wrong by 1.3s"),),
        ),
        Case(
            about="a sawtooth",
            series={
                "kvm_host_clock_max_error_seconds": "0.1+0.05x15 0.1+0.05x15 0.1+0.05x15 0.1x9"
            },
        ),
    ),
    "KvmHostClockStepped": (
        Case(
            about="the clock is set while VMs run",
            series={"kvm_host_clock_steps_total": "0x30 1x30"} | _LONG,
            fires=(
                (
                    {},
                    "The clock of host host-1 was set, not slewed, in the last quarter of an hour",
                ),
            ),
        ),
        Case(
            about="it is set an hour ahead, by which the exporter seems to have started later",
            series={
                "kvm_host_clock_steps_total": "0x80 1x20",
                "process_start_time_seconds": "0x80 3600x20",
            }
            | _LONG,
            at="45m",
            fires=(
                (
                    {},
                    "The clock of host host-1 was set, not slewed, in the last quarter of an hour",
                ),
            ),
        ),
        Case(
            about="the exporter was not scraped for a moment, a quarter of an hour ago",
            series={
                "kvm_host_clock_steps_total": "0x10 stale 0x18 1x30",
                _BUILD: "1x10 stale 1x60",
                _CPU: "900+0.1x10 stale 901.1+0.1x60",
            },
            at="20m30s",
            fires=(
                (
                    {},
                    "The clock of host host-1 was set, not slewed, in the last quarter of an hour",
                ),
            ),
        ),
        Case(
            about="the host boots anew, and its clock is set then",
            series={
                "kvm_host_clock_steps_total": "0x40 stale _x3 0x2 1x50",
                _BUILD: "1x40 stale _x3 1x60",
                _CPU: "900+0.1x40 stale _x3 1+0.1x60",
            },
            at="25m",
        ),
        Case(
            about="the clock is set at boot",
            series={"kvm_host_clock_steps_total": "0x2 1x58", _BUILD: "1x60", _CPU: "1+0.1x60"},
            at="10m",
        ),
        Case(
            about="the exporter starts anew and forgets an old step",
            series={
                "kvm_host_clock_steps_total": "1x20 0x40",
                _BUILD: "1x60",
                _CPU: "900+0.1x20 1+0.1x40",
            },
        ),
    ),
    "KvmHostClockReadSlow": (
        Case(
            about="each reading asks the HPET",
            series={"kvm_host_clock_read_seconds": "2.5e-06x100"},
            at="30m",
            fires=(({}, "Reading the clock of host host-1 takes 2.5us"),),
        ),
        Case(
            about="the vDSO, and a sample that was interrupted",
            series={"kvm_host_clock_read_seconds": "1e-07x20 5e-06 1e-07x20 5e-06 1e-07x58"},
            at="30m",
        ),
    ),
    "KvmGuestClocksourceUnsuitable": (
        Case(
            about="acpi_pm",
            series={'kvm_guest_clocksource_info{clocksource="acpi_pm",state="current"}': "1x60"},
            fires=(({"clocksource": "acpi_pm"}, "Guest host-1 keeps time by acpi_pm"),),
        ),
        Case(
            about="kvm-clock",
            series={'kvm_guest_clocksource_info{clocksource="kvm-clock",state="current"}': "1x60"},
        ),
    ),
    "KvmGuestClocksourceChanged": (
        Case(
            about="the watchdog gives the TSC up",
            series={_BUILD: "1x60", _GUEST_CHANGES: "_x30 1x30"},
            fires=(
                (
                    {"from": "tsc", "to": "kvm-clock"},
                    "Guest host-1 changed its clocksource from tsc to kvm-clock",
                ),
            ),
        ),
        Case(
            about="it did, yesterday",
            series={_BUILD: "1x120", _GUEST_CHANGES: "1x120"},
            at="50m",
        ),
        Case(
            about="it did before a new Prometheus came",
            series={_BUILD: "_x30 1x30", _GUEST_CHANGES: "_x30 1x30"},
        ),
    ),
    "KvmGuestClockOffsetHigh": (
        Case(
            about="slept through a pause of a tenth of a second",
            series={
                'kvm_guest_clock_offset_seconds{source="ptp"}': "-0.08x60",
                'kvm_guest_clock_offset_uncertainty_seconds{source="ptp"}': "0.001x60",
            },
            fires=(
                (
                    {"source": "ptp"},
                    "The clock of guest host-1 is at least 79ms off its host's (ptp)",
                ),
            ),
        ),
        Case(
            about="an offset within its uncertainty",
            series={
                'kvm_guest_clock_offset_seconds{source="ptp"}': "0.1x60",
                'kvm_guest_clock_offset_uncertainty_seconds{source="ptp"}': "0.2x60",
            },
        ),
        Case(
            about="a live migration: one reading in between",
            series={
                'kvm_guest_clock_offset_seconds{source="ptp"}': "0.0001x29 0.4 0.0001x30",
                'kvm_guest_clock_offset_uncertainty_seconds{source="ptp"}': "0.00001x60",
            },
            at="16m",
        ),
    ),
    "KvmGuestClockDrift": (
        Case(
            about="a TSC that was calibrated wrongly",
            series={'kvm_guest_clock_drift_ratio{source="ptp"}': "-0.0002x100"},
            at="30m",
            fires=(
                (
                    {"source": "ptp"},
                    "The clock of guest host-1 drifts from its host's by 200u seconds a second "
                    "(ptp)",
                ),
            ),
        ),
        Case(
            about="one step in a window",
            series={'kvm_guest_clock_drift_ratio{source="ptp"}': "1e-06x30 0.01x5 1e-06x65"},
            at="30m",
        ),
    ),
    "KvmGuestClockStepped": (
        Case(
            about="set in the middle of the day",
            series={"kvm_guest_clock_steps_total": "0x30 1x30"} | _LONG,
            fires=(
                (
                    {},
                    "The clock of guest host-1 was set, not slewed, in the last quarter of an hour",
                ),
            ),
        ),
        Case(
            about="set by chrony during the VM's boot",
            series={"kvm_guest_clock_steps_total": "0x2 1x58", _BUILD: "1x60", _CPU: "1+0.1x60"},
            at="10m",
        ),
        Case(
            about="set once, an hour ago",
            series={"kvm_guest_clock_steps_total": "0x30 1x170"} | _LONG,
            at="75m",
        ),
    ),
    "KvmGuestClockUnsynchronized": (
        Case(
            about="no NTP in the guest",
            series={"kvm_guest_clock_synchronized": "0x120"},
            at="40m",
            fires=(({}, "The clock of guest host-1 is not synchronised to any reference"),),
        ),
        Case(
            about="a boot: chrony takes its time",
            series={"kvm_guest_clock_synchronized": "0x30 1x90"},
            at="40m",
        ),
    ),
    "KvmGuestDeadlineTimerMissing": (
        Case(
            about="a named CPU model without it",
            series={'kvm_guest_clockevent_info{clockevent="lapic"}': "1x60"},
            fires=(
                (
                    {"clockevent": "lapic"},
                    "Guest host-1 sets its timers by lapic, not by TSC deadline",
                ),
            ),
        ),
        Case(
            about="-cpu host",
            series={'kvm_guest_clockevent_info{clockevent="lapic-deadline"}': "1x60"},
        ),
    ),
    "KvmGuestStealHigh": (
        Case(
            about="40 % of the only CPU",
            series={"kvm_guest_steal_seconds_total": "0+12x80", "kvm_guest_cpus": "1x80"},
            at="30m",
            fires=(({}, "The CPUs of guest host-1 wait for the host 40% of the time"),),
        ),
        Case(
            about="15 % of each of four CPUs",
            series={"kvm_guest_steal_seconds_total": "0+18x80", "kvm_guest_cpus": "4x80"},
            at="30m",
            fires=(({}, "The CPUs of guest host-1 wait for the host 15% of the time"),),
        ),
        Case(
            about="half a CPU's worth of 64 CPUs",
            series={"kvm_guest_steal_seconds_total": "0+15.36x80", "kvm_guest_cpus": "64x80"},
            at="30m",
        ),
        Case(
            about="a busy minute, and a restart of the guest",
            series={
                "kvm_guest_steal_seconds_total": "1000+1x20 1060 1120 0+1x60",
                "kvm_guest_cpus": "4x84",
            },
            at="30m",
        ),
    ),
}
