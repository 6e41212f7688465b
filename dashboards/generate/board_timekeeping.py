# SPDX-License-Identifier: Apache-2.0
"""Clocks and timers of hosts and guests."""

from dashboards.generate import (
    panels_guest_clocks,
    panels_host_clocks,
    panels_timers,
    panels_vm_time,
    thresholds,
)
from dashboards.generate.panel import PRESENT, VM_LEGEND, YES_NO, Board, Panel, Query, Section
from dashboards.generate.recording import VM

_NO_HOST = "no chosen instance is a KVM host"
_NO_GUEST = "no exporter runs inside a guest here"

_OVERVIEW = (
    Panel(
        title="Host clocksource",
        kind="state",
        about="The clocksource of each host. Anything but tsc (arm64: arch_sys_counter; in "
        "Hyper-V: hyperv_clocksource_tsc_page) turns the master clock of "
        "all its guests off: see the runbook KvmHostClocksourceNotTsc.",
        queries=(
            Query(
                "max by (job, instance, clocksource) (kvm_host_clocksource_info{@host, "
                'state="current"})',
                "{{instance}}: {{clocksource}}",
            ),
        ),
        texts=PRESENT,
        empty=_NO_HOST,
        width=8,
        height=6,
    ),
    Panel(
        title="Clock synchronised",
        kind="state",
        about="Whether the kernel takes the clock for synchronised, for hosts and for guests. "
        "Red: start or mend "
        "chrony.",
        queries=(
            Query(
                "min by (job, instance) (kvm_host_clock_synchronized{@host})", "host {{instance}}"
            ),
            Query(
                "min by (job, instance) (kvm_guest_clock_synchronized{@host})", "guest {{instance}}"
            ),
        ),
        texts=YES_NO,
        empty="no clock can be asked",
        width=8,
        height=6,
    ),
    Panel(
        title="Clocksource changes",
        about="Changes in the last quarter of an hour. There should never be one while guests run.",
        queries=(
            Query(
                "instance:kvm_host_clocksource_changes:increase15m{@host}",
                "host {{instance}}: {{from}} → {{to}}",
            ),
            Query(
                "instance:kvm_guest_clocksource_changes:increase15m{@host}",
                "guest {{instance}}: {{from}} → {{to}}",
            ),
        ),
        warn=1,
        empty="none: as it should be",
        width=8,
        height=6,
    ),
    Panel(
        title="Host clock offset",
        about="What the kernel still has to work off to reach its reference; positive: the host "
        "is behind. Between "
        "the dashes is fine, a straight line down is a correction under way. chronyd leaves the "
        "kernel nothing to work off: under it this is 0 whatever the clock is, and the estimated "
        "error, beside this, is what tells.",
        queries=(Query("kvm_host_clock_offset_seconds{@host}", "{{instance}}"),),
        unit="s",
        warn=thresholds.CLOCK_OFFSET_SECONDS,
        centred=True,
        empty=_NO_HOST,
        width=8,
    ),
    Panel(
        title="Clock error bounds",
        about="How wrong the clock can be at most (kernel's bound) and is thought to be (the "
        "daemon). A sawtooth is "
        "health; a ramp is a daemon that is gone.",
        queries=(
            Query("kvm_host_clock_max_error_seconds{@host}", "{{instance}} at most"),
            Query("kvm_host_clock_estimated_error_seconds{@host}", "{{instance}} estimated"),
            Query("kvm_guest_clock_max_error_seconds{@host}", "guest {{instance}} at most"),
        ),
        unit="s",
        warn=thresholds.CLOCK_MAX_ERROR_SECONDS,
        empty="no clock can be asked",
        width=8,
    ),
    Panel(
        title="Host clock drift",
        about="How much faster than the raw counter a clock runs: what discipline and steps make "
        "of it. realtime "
        "leaving monotonic is a step.",
        queries=(Query("kvm_host_clock_drift_ratio{@host}", "{{instance}} {{clock}}"),),
        unit="ppm",
        centred=True,
        empty=_NO_HOST,
        width=8,
    ),
    Panel(
        title="Master clock",
        kind="state",
        about="Whether KVM computes a VM's kvm-clock from one reading for all its vCPUs. Off: "
        "the host is not on "
        "its TSC, or the vCPUs' TSCs differ; see the runbook KvmVmMasterClockLost.",
        queries=(Query(f"min by ({VM}) (kvm_vm_master_clock_enabled{{@vm}})", VM_LEGEND),),
        texts={"0": ("off", "red"), "1": ("on", "green")},
        empty="nothing has told of a master clock yet",
        width=8,
    ),
    Panel(
        title="TSC offset writes",
        about="How often each vCPU's TSC was rewritten within the hour. A boot does it once or "
        "twice; above "
        "the dashes something in the guest or its VMM fights the clock.",
        queries=(
            Query(
                "topk(10, vm:kvm_vm_tsc_offset_writes_per_vcpu:increase1h{@vm})",
                VM_LEGEND,
            ),
        ),
        warn=thresholds.TSC_OFFSET_WRITES_PER_HOUR,
        empty="no TSC offset was written",
        width=8,
    ),
    Panel(
        title="Timer lateness, 99th percentile",
        about="How long after its deadline a guest is told of its timer, the ten latest VMs. "
        "Above the dashes "
        "ticks are late: look at Steal beside it.",
        queries=(Query("topk(10, vm:kvm_vm_timer_lateness_seconds:p99_5m{@vm})", VM_LEGEND),),
        unit="s",
        warn=thresholds.TIMER_LATENESS_SECONDS,
        empty="no timer of a guest was measured (lapic_timer_advance)",
        width=8,
    ),
    Panel(
        title="Guest clock offset",
        about="How far guests' clocks are ahead of their hosts', by how it was measured. Compare "
        "with the "
        "uncertainty before believing it.",
        queries=(
            Query("kvm_guest_clock_offset_seconds{@host}", "{{instance}} by {{source}}"),
            Query(
                "kvm_guest_clock_offset_uncertainty_seconds{@host}",
                "{{instance}} by {{source}}: uncertainty",
            ),
        ),
        unit="s",
        warn=thresholds.CLOCK_OFFSET_SECONDS,
        centred=True,
        empty=_NO_GUEST,
        width=8,
    ),
    Panel(
        title="Guest clock drift",
        about="How much faster than their hosts' guests' clocks run. Beyond the dashes no "
        "oscillator explains it.",
        queries=(Query("kvm_guest_clock_drift_ratio{@host}", "{{instance}} by {{source}}"),),
        unit="ppm",
        warn=thresholds.CLOCK_DRIFT_RATIO,
        centred=True,
        empty=_NO_GUEST,
        width=8,
    ),
    Panel(
        title="Steal by VM",
        about="Share of their time that vCPUs waited for a CPU of the host; late timers follow "
        "from it.",
        queries=(Query("topk(10, vm:kvm_vm_run_delay_per_vcpu:rate5m{@vm})", VM_LEGEND),),
        unit="percentunit",
        warn=thresholds.STEAL,
        empty="no VM runs",
        width=8,
    ),
)

BOARD = Board(
    uid="kvmexporter-timekeeping",
    title="KVM / Timekeeping",
    about="Whether the clocks of hosts and guests can be trusted, and what their timers cost.",
    variables=("job", "instance", "vm"),
    sections=(
        Section("", _OVERVIEW),
        Section("Timers and kvm-clock of VMs", panels_timers.PANELS),
        Section("Clocks of VMs, seen from the host", panels_vm_time.PANELS),
        Section("Inside guests", panels_guest_clocks.PANELS),
        Section("Details of hosts", panels_host_clocks.PANELS),
    ),
)
