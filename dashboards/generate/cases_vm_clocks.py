# SPDX-License-Identifier: Apache-2.0
"""Courses of events for the alerts on VMs' clocks and timers."""

from typing import Final

from dashboards.generate.promtool import Case

_VM = {"vm": "web"}
_VCPUS = 'kvm_vm_vcpus{vm="web"}'
_MASTER = 'kvm_vm_master_clock_enabled{vm="web"}'
_AGENT = {"source": "guest-agent"}
_OFFSET = 'kvm_vm_clock_offset_seconds{vm="web",source="guest-agent"}'
_UNCERTAINTY = 'kvm_vm_clock_offset_uncertainty_seconds{vm="web",source="guest-agent"}'
_LATE = 'kvm_vm_timer_lateness_seconds_bucket{vm="web",le='
_LATE_COUNT = 'kvm_vm_timer_lateness_seconds_count{vm="web"}'

CASES: Final[dict[str, tuple[Case, ...]]] = {
    "KvmVmMasterClockLost": (
        Case(
            about="vCPUs whose TSCs differ",
            series={
                _MASTER: "0x60",
                'kvm_host_clocksource_info{clocksource="tsc",state="current"}': "1x60",
            },
            fires=((_VM, "VM web on host-1 has no master clock"),),
        ),
        Case(
            about="the same on a host that is a guest of Hyper-V",
            series={
                _MASTER: "0x60",
                'kvm_host_clocksource_info{clocksource="hyperv_clocksource_tsc_page",'
                'state="current"}': "1x60",
            },
            fires=((_VM, "VM web on host-1 has no master clock"),),
        ),
        Case(
            about="a host on its HPET, which has an alert of its own",
            series={
                _MASTER: "0x60",
                'kvm_host_clocksource_info{clocksource="hpet",state="current"}': "1x60",
            },
            also=("KvmHostClocksourceNotTsc",),
        ),
        Case(about="a live migration", series={_MASTER: "1x20 0x6 1x40"}, at="13m"),
    ),
    "KvmVmClockOffsetHigh": (
        Case(
            about="paused for half a minute",
            series={_OFFSET: "-0.08x60", _UNCERTAINTY: "0.002x60"},
            fires=(
                (_VM | _AGENT, "The clock of VM web on host-1 is at least 78ms off its host's"),
            ),
        ),
        Case(
            about="an agent that is slow to answer",
            series={_OFFSET: "0.5x60", _UNCERTAINTY: "1x60"},
        ),
        Case(
            about="one impossible answer in a while",
            series={_OFFSET: "0.001x8 4.3 0.001x8 4.3 0.001x40", _UNCERTAINTY: "0.002x60"},
            at="10m",
        ),
    ),
    "KvmVmClockDrift": (
        Case(
            about="a millisecond every two seconds",
            series={_OFFSET: "0+0.015x120", _UNCERTAINTY: "0.002x120"},
            at="50m",
            also=("KvmVmClockOffsetHigh",),
            fires=(
                (
                    _VM | _AGENT,
                    "The clock of VM web on host-1 drifts from its host's by 500u seconds a second",
                ),
            ),
        ),
        Case(
            about="an offset that stays, within the agent's noise",
            series={_OFFSET: " ".join(["0.012 0.010 0.011 0.009"] * 30)},
            at="50m",
        ),
        Case(
            about="a clock that was set, by two seconds, and stays there",
            series={_OFFSET: "0.001x60 2x200", _UNCERTAINTY: "0.002x260"},
            at="50m",
            also=("KvmVmClockOffsetHigh",),
        ),
    ),
    "KvmVmTscOffsetRewritten": (
        Case(
            about="a guest that writes its TSC each minute",
            series={
                _VCPUS: "2x200",
                'kvm_vm_tsc_offset_writes_total{vm="web"}': "0+1x200",
            },
            at="80m",
            fires=(
                (
                    _VM,
                    "The TSC of VM web on host-1 was rewritten 60 times per vCPU within the hour",
                ),
            ),
        ),
        Case(
            about="a boot, and a migration half an hour later",
            series={
                _VCPUS: "2x200",
                'kvm_vm_tsc_offset_writes_total{vm="web"}': "0 2 4x60 6x130",
            },
            at="40m",
        ),
    ),
    "KvmVmDeadlineTimerMissing": (
        Case(
            about="ticks by the APIC's count",
            series={
                'kvm_vm_apic_timer_arms_total{vm="web"}': "0+3000x80",
                'kvm_vm_tsc_deadline_arms_total{vm="web"}': "0x80",
            },
            at="35m",
            fires=(
                (
                    _VM,
                    "VM web on host-1 sets 100 timers a second by its APIC's count, none by TSC "
                    "deadline",
                ),
            ),
        ),
        Case(
            about="ticks by deadline",
            series={
                'kvm_vm_apic_timer_arms_total{vm="web"}': "0+3000x80",
                'kvm_vm_tsc_deadline_arms_total{vm="web"}': "0+3000x80",
            },
            at="35m",
        ),
        Case(
            about="a boot: firmware and calibration",
            series={'kvm_vm_apic_timer_arms_total{vm="web"}': "0+3000x4 12000x76"},
            at="35m",
        ),
    ),
    "KvmVmTimersLate": (
        Case(
            about="5 % later than two milliseconds",
            series={
                f'{_LATE}"0.000131072"}}': "0+2850x80",
                f'{_LATE}"0.002097152"}}': "0+2850x80",
                f'{_LATE}"0.033554432"}}': "0+3000x80",
                f'{_LATE}"+Inf"}}': "0+3000x80",
                _LATE_COUNT: "0+3000x80",
            },
            at="30m",
            fires=((_VM, "More than 1 % of the timers of VM web on host-1 are later than 2 ms"),),
        ),
        Case(
            about="late, but one timer in ten seconds",
            series={
                f'{_LATE}"0.002097152"}}': "0x80",
                f'{_LATE}"0.033554432"}}': "0+3x80",
                f'{_LATE}"+Inf"}}': "0+3x80",
                _LATE_COUNT: "0+3x80",
            },
            at="30m",
        ),
        Case(
            about="a busy guest with timers in time",
            series={
                f'{_LATE}"0.000131072"}}': "0+30000x80",
                f'{_LATE}"+Inf"}}': "0+30000x80",
                _LATE_COUNT: "0+30000x80",
            },
            at="30m",
        ),
    ),
}
