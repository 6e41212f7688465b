# SPDX-License-Identifier: Apache-2.0
"""Panels on the timers and the kvm-clock that KVM gives its VMs."""

from dashboards.generate import thresholds
from dashboards.generate.panel import VM_LEGEND, Panel, Query
from dashboards.generate.recording import VM

_R = "[$__rate_interval]"

PANELS = (
    Panel(
        title="Timers armed",
        about="How guests set their local timers: with a TSC deadline, which takes one cheap "
        "exit, or by the "
        "APIC's count. Only the latter, above the dashes: the guest lacks the deadline timer.",
        queries=(
            Query(
                f"sum by ({VM}) (rate(kvm_vm_tsc_deadline_arms_total{{@vm}}{_R}))",
                VM_LEGEND + " · deadline",
            ),
            Query(
                f"sum by ({VM}) (rate(kvm_vm_apic_timer_arms_total{{@vm}}{_R}))",
                VM_LEGEND + " · APIC count",
            ),
        ),
        unit="cps",
        warn=thresholds.APIC_TIMER_ARMS,
        empty="no guest armed a timer",
        width=8,
    ),
    Panel(
        title="Timer programming",
        about="How guests set their timers: writes to the TSC-deadline register are one cheap "
        "exit each; "
        "accesses to the local APIC's count register, the HPET or the PIT mean that it is hidden "
        "from them.",
        queries=(
            Query(
                "sum by (msr) (rate(kvm_vm_msr_accesses_total"
                '{@vm, msr=~"tsc_deadline|tsc|x2apic.*", direction="write"}[$__rate_interval]))',
                "msr {{msr}}",
            ),
            Query(
                "sum by (device) (rate(kvm_vm_io_exits_total"
                '{@vm, device=~".*(hpet|pit|lapic|rtc|acpi-pm|acpi-tmr).*"}[$__rate_interval]))',
                "device {{device}}",
            ),
        ),
        unit="cps",
        empty="no timer was set through an exit",
        width=8,
    ),
    Panel(
        title="Timer lateness",
        kind="heatmap",
        about="How late guests are told of their timers. A band in the microseconds is good; one "
        "that climbs "
        "is a host that is busy elsewhere.",
        queries=(
            Query(f"sum by (le) (rate(kvm_vm_timer_lateness_seconds_bucket{{@vm}}{_R}))", "{{le}}"),
        ),
        unit="s",
        empty="no timer of a guest was measured (lapic_timer_advance)",
        width=8,
    ),
    Panel(
        title="Timers served early",
        about="Share of timers that KVM served before their deadline, as it means to: it then "
        "spins until it.",
        queries=(
            Query(
                f"sum by ({VM}) (rate(kvm_vm_timer_early_total{{@vm}}{_R})) / "
                f"sum by ({VM}) (rate(kvm_vm_timer_lateness_seconds_count{{@vm}}{_R}))",
                VM_LEGEND,
            ),
        ),
        unit="percentunit",
        empty="no timer of a guest was measured (lapic_timer_advance)",
        width=8,
    ),
    Panel(
        title="Time spun before deadlines",
        about="CPU time that vCPUs spin to hit their deadlines. More than a thousandth of a CPU: "
        "lower "
        "lapic_timer_advance_ns.",
        queries=(
            Query(f"sum by ({VM}) (rate(kvm_vm_timer_early_seconds_total{{@vm}}{_R}))", VM_LEGEND),
        ),
        unit="percentunit",
        empty="no timer of a guest was measured (lapic_timer_advance)",
        width=8,
    ),
    Panel(
        title="What runs guests' timers",
        about="How often KVM moved a guest's timer to the processor's preemption timer "
        "(hardware) or to the host "
        "kernel's (software, when the vCPU halts). Hardware alone never: the processor lacks it.",
        queries=(
            Query(f"sum by (state) (rate(kvm_vm_hv_timer_switches_total{{@vm}}{_R}))", "{{state}}"),
        ),
        unit="cps",
        empty="no timer was switched",
        width=8,
    ),
    Panel(
        title="kvm-clock updates",
        about="How often KVM rewrites vCPUs' kvm-clock. Every five minutes is normal; many a "
        "second mean that there "
        "is no master clock and vCPUs wander.",
        queries=(
            Query(f"sum by ({VM}) (rate(kvm_vm_pvclock_updates_total{{@vm}}{_R}))", VM_LEGEND),
        ),
        unit="cps",
        empty="no kvm-clock was updated",
        width=8,
    ),
    Panel(
        title="Master clock changes",
        about="Times in the last hour that a VM's master clock was turned on or off. Once at a "
        "start is normal.",
        queries=(Query("increase(kvm_vm_master_clock_changes_total{@vm}[1h])", VM_LEGEND),),
        empty="nothing has told of a master clock yet",
        width=8,
    ),
    Panel(
        title="TSC offsets apart",
        about="How far the TSC offsets of a VM's vCPUs are apart; 0 is right. More: the guest's "
        "TSCs disagree, and "
        "it will not take the TSC as its clocksource.",
        queries=(Query("kvm_vm_tsc_offset_spread_seconds{@vm}", VM_LEGEND),),
        unit="s",
        empty="no TSC offset was written",
        width=8,
    ),
    Panel(
        title="Host's clock behind the master clock",
        kind="table",
        about="What the host's clock was read from when KVM decided on each VM's master clock: "
        "anything but tsc "
        "forbids one.",
        queries=(Query("kvm_vm_master_clock_info{@vm}"),),
        hidden=("job",),
        empty="nothing has told of a master clock yet",
        width=24,
        height=6,
    ),
)
