# SPDX-License-Identifier: Apache-2.0
"""Panels on the time that VMs have, as their guest agents and VMMs tell."""

from dashboards.generate import thresholds
from dashboards.generate.panel import VM_LEGEND, YES_NO, Column, Panel, Query
from dashboards.generate.recording import VM

_NO_AGENT = "no guest agent is asked for the time (--guest-agent), or none answers"
_NO_QMP = "no VMM could be asked"

PANELS = (
    Panel(
        title="VM clock offset",
        about="How far each guest's clock is ahead of the host's, as its agent says. Only what "
        "is beyond the "
        "uncertainty counts.",
        queries=(
            Query("kvm_vm_clock_offset_seconds{@vm}", VM_LEGEND + " by {{source}}"),
            Query(
                "kvm_vm_clock_offset_uncertainty_seconds{@vm}",
                VM_LEGEND + " by {{source}}: uncertainty",
            ),
        ),
        unit="s",
        warn=thresholds.CLOCK_OFFSET_SECONDS,
        centred=True,
        empty=_NO_AGENT,
        width=8,
    ),
    Panel(
        title="VM clock drift",
        about="How fast each guest's clock moves away from the host's, over half an hour. Beyond "
        "the dashes nobody "
        "disciplines it, or somebody does so wrongly.",
        queries=(Query("vm:kvm_vm_clock_drift:ratio30m{@vm}", VM_LEGEND + " by {{source}}"),),
        unit="ppm",
        warn=thresholds.CLOCK_DRIFT_RATIO,
        centred=True,
        empty=_NO_AGENT,
        width=8,
    ),
    Panel(
        title="Guest agents answer",
        kind="state",
        about="Whether each guest's agent answered last. Red for long: qemu-ga is not installed, "
        "or hangs.",
        queries=(Query(f"min by ({VM}) (kvm_vm_guest_agent_answers{{@vm}})", VM_LEGEND),),
        texts=YES_NO,
        empty=_NO_AGENT,
        width=8,
    ),
    Panel(
        title="Battery-backed clocks",
        about="How far VMs' RTCs are ahead of the host's clock. Whole hours are a time zone; "
        "anything else is set by "
        "the guest, or stood still.",
        queries=(Query("kvm_vm_rtc_offset_seconds{@vm}", VM_LEGEND),),
        unit="s",
        centred=True,
        empty=_NO_QMP,
        width=8,
    ),
    Panel(
        title="Battery-backed clocks moved",
        about="How often in the last hour VMs' RTCs moved against the host's. Once at a shutdown "
        "is normal: the guest "
        "writes its time back.",
        queries=(Query("increase(kvm_vm_rtc_changes_total{@vm}[1h])", VM_LEGEND),),
        empty=_NO_QMP,
        width=8,
    ),
    Panel(
        title="What VMs can tell the time with",
        kind="table",
        about="CPU features that clocks depend on. tsc-deadline and kvmclock should be there; "
        "invtsc makes the TSC a "
        "clock but forbids some migrations.",
        queries=(Query("kvm_vm_cpu_feature{@vm}", column=Column("Has it", "bool_yes_no")),),
        hidden=("job",),
        empty=_NO_QMP,
        width=8,
    ),
)
