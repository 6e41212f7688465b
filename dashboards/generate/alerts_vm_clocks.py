# SPDX-License-Identifier: Apache-2.0
"""Alerts on the clocks and timers that KVM gives its VMs, seen from the host."""

from dashboards.generate import thresholds
from dashboards.generate.alert import COUNT, Alert

_BOARD = "kvmexporter-timekeeping"
_VM = "job, instance, vm"

ALERTS = (
    Alert(
        name="KvmVmMasterClockLost",
        severity="warning",
        # A host that is not on its TSC has an alert of its own, and one is enough.
        value=f"max by ({_VM}) (kvm_vm_master_clock_enabled) unless on (job, instance) "
        "kvm_host_clocksource_info{"
        f'state="current", clocksource!~"{thresholds.HOST_CLOCKSOURCES}"}}',
        below=1,
        hold="10m",
        summary="VM {{ $labels.vm }} on {{ $labels.instance }} has no master clock",
        meaning="The host runs on its TSC, and still KVM computes this VM's kvm-clock for each "
        "vCPU by itself. Mostly the host left its TSC for a while: KVM turned the master clock "
        "off at once, and when the host came back nothing made it decide anew. Else the TSCs of "
        "the VM's vCPUs do not match. The guest reconciles its vCPUs' clocks at each reading, "
        "and time can stand still between them.",
        check="The panel *Clocksource changes* shows whether the host left its TSC. In the "
        "exporter's `/metrics`, `kvm_vm_master_clock_info` has what the host's clock was read "
        "from when KVM decided (`none`: not since it came back), "
        "`kvm_vm_tsc_offset_spread_seconds` how far the vCPUs' TSCs are apart. `kvmexporter dump "
        "--duration 330` shows the master clock, too; it learns of it with the VM's next "
        "kvm-clock update, five minutes later at most.",
        mend="Pause the VM and resume it (`virsh suspend VM`, `virsh resume VM`; `stop` and "
        "`cont` in QEMU's monitor): KVM decides anew. The guest's clock falls behind by the "
        "length of the pause unless something sets it: chrony in the guest, or `virsh domtime VM "
        "--sync`. Where the master clock stays off, the vCPUs' TSCs differ: restart the VM or "
        "migrate it, which gives them matching ones; leave the TSC alone in the guest (no writes "
        "to MSR 0x10), and hot-plug vCPUs with a VMM that synchronises them.",
        panel=(_BOARD, "Master clock"),
    ),
    Alert(
        name="KvmVmClockOffsetHigh",
        severity="warning",
        value="abs(quantile_over_time(0.5, kvm_vm_clock_offset_seconds[5m])) - "
        "quantile_over_time(0.5, kvm_vm_clock_offset_uncertainty_seconds[5m])",
        above=thresholds.CLOCK_OFFSET_SECONDS,
        hold="5m",
        summary="The clock of VM {{ $labels.vm }} on {{ $labels.instance }} is at least "
        "{{ $value | humanizeDuration }} off its host's",
        meaning="The guest's agent tells a time that differs from the host's by more than asking "
        "it can explain. "
        "The median of five minutes is compared.",
        check="The exporter asks guests' agents with `--guest-agent` only, and so does "
        "`kvmexporter dump --guest-agent`, which shows the offset, its uncertainty, and the RTC; "
        "on the host, look at its own clock: the guest may be right and the host wrong.",
        mend="Run chrony in the guest with the host's clock as reference (`refclock PHC "
        "/dev/ptp0`, module ptp_kvm). "
        "After a resume, `virsh domtime VM --sync` puts it right at once.",
        panel=(_BOARD, "VM clock offset"),
    ),
    Alert(
        name="KvmVmClockDrift",
        severity="warning",
        value="abs(vm:kvm_vm_clock_drift:ratio30m)",
        above=thresholds.CLOCK_DRIFT_RATIO,
        hold="15m",
        summary="The clock of VM {{ $labels.vm }} on {{ $labels.instance }} drifts from its "
        "host's by "
        "{{ $value | humanize }} seconds a second",
        meaning="Over half an hour the guest's clock moved away from the host's faster than "
        "oscillators differ: the "
        "guest calibrated its TSC wrongly, counts ticks that it loses, or follows a bad reference.",
        check="The exporter asks guests' agents with `--guest-agent` only. `kvmexporter dump "
        "--guest-agent` shows the VM's clock offset, its clock features, its timers and how late "
        "they are.",
        mend="Let the guest use kvm-clock, and discipline it with chrony from /dev/ptp0. Windows "
        "guests want the "
        "Hyper-V reference counter (`hv-time`).",
        panel=(_BOARD, "VM clock drift"),
    ),
    Alert(
        name="KvmVmTscOffsetRewritten",
        severity="warning",
        value="vm:kvm_vm_tsc_offset_writes_per_vcpu:increase1h",
        above=thresholds.TSC_OFFSET_WRITES_PER_HOUR,
        hold="5m",
        summary="The TSC of VM {{ $labels.vm }} on {{ $labels.instance }} was rewritten "
        f"{COUNT} times "
        "per vCPU within the hour",
        meaning="Somebody sets the VM's time stamp counter again and again: a guest that "
        "synchronises its TSCs by "
        "writing them, a VMM that is paused and resumed, a loop of snapshots or migrations. Each "
        "time the guest's "
        "clock may jump.",
        check="The panel *TSC offset writes* shows when; `kvm_vm_tsc_offset_spread_seconds` in "
        "the exporter's `/metrics` how far the vCPUs' offsets are apart. `kvmexporter dump "
        "--duration 330` counts from its own start for five and a half minutes: with the MSR "
        "`tsc` written among the VM's accesses, the guest does it.",
        mend="If the guest does it: `tsc=reliable` on its kernel command line, or a newer "
        "kernel. If the VMM does: "
        "find what pauses the VM (backup, checkpoints).",
        panel=(_BOARD, "TSC offset writes"),
    ),
    Alert(
        name="KvmVmDeadlineTimerMissing",
        severity="warning",
        value=f"sum by ({_VM}) (rate(kvm_vm_apic_timer_arms_total[15m])) unless "
        f"sum by ({_VM}) (rate(kvm_vm_tsc_deadline_arms_total[15m])) > 0",
        above=thresholds.APIC_TIMER_ARMS,
        hold="15m",
        summary="VM {{ $labels.vm }} on {{ $labels.instance }} sets {{ $value | humanize }} "
        "timers a second by its "
        "APIC's count, none by TSC deadline",
        meaning="The guest does not use the TSC-deadline timer: it is hidden from it, or it does "
        "not know it. Each "
        "timer takes more exits and fires less exactly.",
        check="`kvmexporter dump` shows the guest's timers and, where QEMU can be asked, whether "
        "its CPU model has "
        "`tsc-deadline`.",
        mend="`-cpu host`, or `+tsc-deadline` on a named model; in libvirt, "
        "`<feature policy='require' name='tsc-deadline'/>`. It takes a restart of the VM.",
        panel=(_BOARD, "Timers armed"),
    ),
    Alert(
        name="KvmVmTimersLate",
        severity="warning",
        value="vm:kvm_vm_timer_lateness_seconds:p99_5m",
        above=thresholds.TIMER_LATENESS_SECONDS,
        guard=f"sum by ({_VM}) (rate(kvm_vm_timer_lateness_seconds_count[5m])) > 1",
        hold="10m",
        # Not the value: beyond a bucket's bound it is interpolated.
        summary="More than 1 % of the timers of VM {{ $labels.vm }} on {{ $labels.instance }} are "
        f"later than {thresholds.TIMER_LATENESS_SECONDS * 1000:.0f} ms",
        meaning="The host tells the guest of its timers late: ticks, timeouts and audio suffer, "
        "and the guest may call "
        "its clocksource unstable.",
        check="`kvmexporter dump` shows lateness beside run delay: late and delayed, the host is "
        "short of CPU; late "
        "alone, interrupts are off for long, or the host's CPUs sleep deeply.",
        mend="Relieve the host ([KvmVmStealHigh](KvmVmStealHigh.md)); for low latency, forbid "
        "deep C-states "
        "(`cpuidle`, tuned's `realtime-virtual-host`) and let KVM advance timers "
        "(`lapic_timer_advance`).",
        panel=(_BOARD, "Timer lateness, 99th percentile"),
    ),
)
