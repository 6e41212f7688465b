# SPDX-License-Identifier: Apache-2.0
"""Alerts on the clocks of hosts and of guests."""

from dashboards.generate import thresholds
from dashboards.generate.alert import Alert

_BOARD = "kvmexporter-timekeeping"
_GUEST_CLOCKSOURCES = f"kvm-clock|{thresholds.HOST_CLOCKSOURCES}"
# The exporter's process was there a quarter of an hour ago. When it started is no witness of that:
# the kernel tells it by the clock that was set.
_STARTED = (
    "on (job, instance) (last_over_time(kvmexporter_build_info[5m] offset 15m) "
    "unless on (job, instance) resets(process_cpu_seconds_total[15m]) > 0)"
)

HOST = (
    Alert(
        name="KvmHostClocksourceNotTsc",
        severity="warning",
        value="max by (job, instance, clocksource) "
        "(kvm_host_clocksource_info{"
        f'state="current", clocksource!~"{thresholds.HOST_CLOCKSOURCES}"}})',
        above=0,
        hold="5m",
        summary="Host {{ $labels.instance }} keeps time by {{ $labels.clocksource }} instead of "
        "the "
        "processor's own counter",
        meaning="The host's clocksource is not the time stamp counter (on arm64 the architected "
        "counter, under Hyper-V its page of it). Without it KVM's master clock is off: every "
        "guest's kvm-clock falls back to per-vCPU corrections, and each clock "
        "reading on the host costs a device access.",
        check="`kvmexporter dump` names the clocksource in its timekeeping section and, as a "
        "finding, "
        "why the kernel gave the TSC up. `dmesg | grep -iE 'tsc|clocksource'` has the kernel's "
        "own words: usually *Marking clocksource 'tsc' as unstable*.",
        mend="If the watchdog disqualified the TSC under load, a newer kernel judges more fairly; "
        "`tsc=reliable` is for processors whose counters are known to agree. A firmware that "
        "writes "
        "the TSC wants an update. On a nested host, give the host itself an invariant TSC "
        "(`-cpu host,+invtsc`).",
        panel=(_BOARD, "Host clocksource"),
    ),
    Alert(
        name="KvmHostClocksourceChanged",
        severity="critical",
        value="instance:kvm_host_clocksource_changes:increase15m",
        above=0,
        hold="0m",
        summary="Host {{ $labels.instance }} changed its clocksource from {{ $labels.from }} to "
        "{{ $labels.to }}",
        meaning="The kernel or an administrator changed the clocksource while guests were running. "
        "Guests may have seen their clock jump, and if the change was away from the TSC, all of "
        "them "
        "lost the master clock.",
        check="The exporter's page at `/` and `kvm_host_clocksource_changes_total` in its "
        "`/metrics` have the changes since it started; the host's `dmesg` has the reason and the "
        "time. `kvmexporter dump` shows the current clocksource and what the kernel gave up on; "
        "changes it counts from its own start.",
        mend="If the kernel did it, treat the host as suspect: move guests away and see "
        "[KvmHostClocksourceNotTsc](KvmHostClocksourceNotTsc.md). If it was done by hand, write "
        "the "
        "old name back to `/sys/devices/system/clocksource/clocksource0/current_clocksource`.",
        panel=(_BOARD, "Clocksource changes"),
    ),
    Alert(
        name="KvmHostClockUnsynchronized",
        severity="warning",
        value="max by (job, instance) (kvm_host_clock_synchronized)",
        below=1,
        hold="10m",
        summary="The clock of host {{ $labels.instance }} is not synchronised to any reference",
        meaning="No NTP or PTP daemon has told the kernel that the clock is good, or it has not "
        "been "
        "heard from for too long. Guests that take their time from the host (kvm-clock, ptp_kvm) "
        "drift with it.",
        check="`kvmexporter dump` shows whether the kernel takes the clock for synchronised, and "
        "its "
        "error bound. `chronyc tracking` or `timedatectl timesync-status` says what the daemon "
        "thinks.",
        mend="Start chrony or systemd-timesyncd, and see that it reaches its servers (UDP port "
        "123). "
        "A daemon that never calls adjtimex (some configurations of ntpd in a container) leaves "
        "this "
        "flag unset: let it discipline the kernel clock.",
        panel=(_BOARD, "Clock synchronised"),
    ),
    Alert(
        name="KvmHostClockOffsetHigh",
        severity="warning",
        # The least of five minutes: one impossible reading cannot raise it, and it was read.
        value="min_over_time(abs(kvm_host_clock_offset_seconds)[5m:30s])",
        above=thresholds.CLOCK_OFFSET_SECONDS,
        hold="5m",
        summary="The clock of host {{ $labels.instance }} is {{ $value | humanizeDuration }} off "
        "its "
        "reference",
        meaning="What the kernel still has to work off to reach its reference clock has been "
        "large for minutes. The least of five minutes is compared, since adjtimex can report an "
        "impossible offset (2^32 ns) for a moment. It is silent under chronyd and ntpd-rs, which "
        "slew the clock themselves and leave the kernel's offset at 0: there, "
        "[KvmHostClockErrorHigh](KvmHostClockErrorHigh.md) tells.",
        check="`kvmexporter dump` shows offset, estimated and maximum error; the offset is "
        "always 0 under chrony: look at the error bounds, and at `chronyc tracking`. `chronyc "
        "sourcestats` tells whether the references agree with one another.",
        mend="Wait if it is shrinking: the kernel slews at 500 ppm, half a second takes a "
        "quarter of an "
        "hour. Where it is not, look for a bad reference, an asymmetric network path or a host "
        "whose "
        "oscillator is beyond what NTP can correct.",
        panel=(_BOARD, "Host clock offset"),
    ),
    Alert(
        name="KvmHostClockErrorHigh",
        severity="warning",
        value="min_over_time(kvm_host_clock_max_error_seconds[5m])",
        above=thresholds.CLOCK_MAX_ERROR_SECONDS,
        hold="10m",
        summary="The clock of host {{ $labels.instance }} can be wrong by {{ $value | "
        "humanizeDuration }}",
        meaning="The kernel's bound on the clock's error grows by half a millisecond a second "
        "while "
        "nobody disciplines the clock. It has grown for a long time.",
        check="`kvmexporter dump` shows the bound; `chronyc tracking` shows when the last "
        "reference "
        "was heard.",
        mend="As for [KvmHostClockUnsynchronized](KvmHostClockUnsynchronized.md): bring the "
        "daemon or its "
        "network back.",
        panel=(_BOARD, "Clock error bounds"),
    ),
    Alert(
        name="KvmHostClockStepped",
        severity="warning",
        value="sum by (job, instance) (increase(kvm_host_clock_steps_total[15m]))",
        above=0,
        guard=_STARTED,
        hold="0m",
        summary="The clock of host {{ $labels.instance }} was set, not slewed, in the last "
        "quarter of "
        "an hour",
        meaning="CLOCK_REALTIME was set by a jump. Logs, leases and certificates on the host see "
        "time "
        "missing or repeated; guests that follow the host by ptp_kvm follow the jump.",
        check="The panel *Clock steps* and the exporter's page at `/` show how often the clock "
        "was set since the exporter started, `kvm_host_clock_step_seconds_total` in its "
        "`/metrics` how far. `kvmexporter dump` counts from its own start and knows of no step "
        "before. The journal of chrony, ntpd or systemd-timesyncd says who did it.",
        mend="Allow steps only at boot (chrony: `makestep 1 3`), and find out why the offset had "
        "become so "
        "large: a suspended host, a dead battery clock, a reference that lied.",
        panel=(_BOARD, "Clock steps"),
    ),
    Alert(
        name="KvmHostClockReadSlow",
        severity="info",
        value="min_over_time(kvm_host_clock_read_seconds[10m])",
        above=thresholds.CLOCK_READ_SECONDS,
        hold="15m",
        summary="Reading the clock of host {{ $labels.instance }} takes {{ $value | "
        "humanizeDuration }}",
        meaning="A clock_gettime on this host enters the kernel or even a device. Every process "
        "pays "
        "for that, QEMU and vhost included.",
        check="`kvmexporter dump` shows the clocksource and what a reading costs.",
        mend="Get the TSC back as clocksource: see "
        "[KvmHostClocksourceNotTsc](KvmHostClocksourceNotTsc.md).",
        panel=(_BOARD, "Cost of reading the clock"),
    ),
)

GUEST = (
    Alert(
        name="KvmGuestClocksourceUnsuitable",
        severity="warning",
        value="max by (job, instance, clocksource) "
        f'(kvm_guest_clocksource_info{{state="current", clocksource!~"{_GUEST_CLOCKSOURCES}"}})',
        above=0,
        hold="5m",
        summary="Guest {{ $labels.instance }} keeps time by {{ $labels.clocksource }}",
        meaning="The guest reads its time from an emulated device (hpet, acpi_pm, "
        "refined-jiffies): every "
        "reading is an exit to the host, thousands of times dearer than kvm-clock, and the clock "
        "drifts "
        "while the VM is not scheduled.",
        check="`kvmexporter dump` in the guest lists the available clocksources and what the host "
        "offers. On the host, exits to the device `hpet` or `acpi-pm` show the price.",
        mend="Leave kvm-clock on (`-cpu …,kvmclock=on`, the default; a hidden hypervisor or "
        "`kvm=off` hides "
        "it), or pass an invariant TSC (`-cpu host,+invtsc`), and drop `clocksource=` from the "
        "guest's "
        "kernel command line.",
        panel=(_BOARD, "Guest clocksource"),
    ),
    Alert(
        name="KvmGuestClocksourceChanged",
        severity="warning",
        value="instance:kvm_guest_clocksource_changes:increase15m",
        above=0,
        hold="0m",
        summary="Guest {{ $labels.instance }} changed its clocksource from {{ $labels.from }} to "
        "{{ $labels.to }}",
        meaning="The guest's kernel changed its clocksource while running, mostly because its "
        "watchdog "
        "found the TSC unstable: a migration to a host of another TSC frequency, or steal that "
        "held a "
        "vCPU for long.",
        check="The guest's exporter has the changes since it started on its page at `/` and as "
        "`kvm_guest_clocksource_changes_total` in its `/metrics`; the guest's `dmesg` has the "
        "reason. `kvmexporter dump` in the guest shows the current clocksource; changes it "
        "counts from its own start.",
        mend="Migrate between hosts of one TSC frequency or with TSC scaling, and prefer "
        "kvm-clock as the "
        "guest's clocksource, which survives both.",
        panel=(_BOARD, "Clocksource changes"),
    ),
    Alert(
        name="KvmGuestClockOffsetHigh",
        severity="warning",
        value="abs(quantile_over_time(0.5, kvm_guest_clock_offset_seconds[5m])) - "
        "quantile_over_time(0.5, kvm_guest_clock_offset_uncertainty_seconds[5m])",
        above=thresholds.CLOCK_OFFSET_SECONDS,
        hold="5m",
        summary="The clock of guest {{ $labels.instance }} is at least {{ $value | "
        "humanizeDuration }} off "
        "its host's ({{ $labels.source }})",
        meaning="Guest and host disagree about the time by more than comparing them can explain. "
        "The median "
        "of five minutes is compared, less its uncertainty.",
        check="`kvmexporter dump` in the guest shows the offset by source and how it was "
        "measured. Run it on "
        "the host, too: the guest may be right and the host wrong.",
        mend="Let chrony in the guest follow the host: `refclock PHC /dev/ptp0 poll 2` with "
        "ptp_kvm, or "
        "NTP. After a resume or a restore from a snapshot, `chronyc makestep` or the guest agent's "
        "`guest-set-time` puts it right at once.",
        panel=(_BOARD, "Guest clock offset"),
    ),
    Alert(
        name="KvmGuestClockDrift",
        severity="warning",
        value="abs(quantile_over_time(0.5, kvm_guest_clock_drift_ratio[10m]))",
        above=thresholds.CLOCK_DRIFT_RATIO,
        hold="10m",
        summary="The clock of guest {{ $labels.instance }} drifts from its host's by {{ $value | "
        "humanize }} "
        "seconds a second ({{ $labels.source }})",
        meaning="The guest's clock runs at another rate than its host's, by more than the worst "
        "oscillators differ. The guest calibrated its TSC wrongly, or someone disciplines one of "
        "the two "
        "clocks hard.",
        check="`kvmexporter dump` in the guest shows drift, clocksource and whether NTP is at "
        "work; on the "
        "host, the clock's frequency adjustment.",
        mend="Use kvm-clock rather than a calibrated TSC; see that the guest's NTP daemon is not "
        "fed by two "
        "sources that disagree; after a migration to a host of another frequency, restart the "
        "daemon.",
        panel=(_BOARD, "Guest clock drift"),
    ),
    Alert(
        name="KvmGuestClockStepped",
        severity="warning",
        value="sum by (job, instance) (increase(kvm_guest_clock_steps_total[15m]))",
        above=0,
        guard=_STARTED,
        hold="0m",
        summary="The clock of guest {{ $labels.instance }} was set, not slewed, in the last "
        "quarter of an hour",
        meaning="The guest's CLOCK_REALTIME jumped, long after its boot. Databases and leases in "
        "the guest "
        "may have seen time go backwards.",
        check="`kvm_guest_clock_step_seconds_total` in the `/metrics` of the guest's exporter "
        "shows how far it was set, and its page at `/` how often; `kvmexporter dump` counts from "
        "its own start and knows of no step before. The journal shows who did it (chrony, the "
        "QEMU guest agent, cloud-init).",
        mend="A step after a pause or a migration is meant. Otherwise allow steps at boot only "
        "(chrony: "
        "`makestep 1 3`), and look for the reason of the offset.",
        panel=(_BOARD, "Clock steps"),
    ),
    Alert(
        name="KvmGuestClockUnsynchronized",
        severity="warning",
        value="max by (job, instance) (kvm_guest_clock_synchronized)",
        below=1,
        hold="30m",
        summary="The clock of guest {{ $labels.instance }} is not synchronised to any reference",
        meaning="Nobody disciplines the guest's clock. kvm-clock keeps the rate of the host's "
        "counter, not "
        "the host's time of day: the offset grows from the boot on.",
        check="`kvmexporter dump` in the guest shows the state and the error bound.",
        mend="Run chrony in the guest with the host's clock as reference (`refclock PHC "
        "/dev/ptp0`, module "
        "ptp_kvm), or with NTP servers.",
        panel=(_BOARD, "Clock synchronised"),
    ),
    Alert(
        name="KvmGuestDeadlineTimerMissing",
        severity="warning",
        value="max by (job, instance, clockevent) "
        '(kvm_guest_clockevent_info{clockevent=~"lapic|hpet|pit"})',
        above=0,
        hold="15m",
        summary="Guest {{ $labels.instance }} sets its timers by {{ $labels.clockevent }}, not "
        "by TSC deadline",
        meaning="The guest's per-CPU timer is not the TSC-deadline timer. Each timer is then "
        "programmed "
        "through emulated registers and counted down from another clock: more exits and later "
        "ticks.",
        check="`kvmexporter dump` in the guest names its clock event device and whether the CPU "
        "shows "
        "`tsc_deadline_timer`.",
        mend="Start the VM with `-cpu host`, or add `+tsc-deadline` to a named model; in libvirt, "
        "`<feature policy='require' name='tsc-deadline'/>`. It takes a restart of the VM.",
        panel=(_BOARD, "Guest timer"),
    ),
    Alert(
        name="KvmGuestStealHigh",
        severity="warning",
        value="sum by (job, instance) (rate(kvm_guest_steal_seconds_total[5m])) / "
        "max by (job, instance) (kvm_guest_cpus)",
        above=thresholds.STEAL,
        hold="15m",
        summary="The CPUs of guest {{ $labels.instance }} wait for the host {{ $value | "
        "humanizePercentage }} of the time",
        meaning="The guest's CPUs had work and the host ran something else, for a quarter of an "
        "hour. The number is the mean of the guest's CPUs.",
        check="`kvmexporter dump` in the guest shows steal; on the host, the run delay of this "
        "VM and "
        "of its neighbours.",
        mend="See [KvmVmStealHigh](KvmVmStealHigh.md): fewer vCPUs on the host, or pinning, or "
        "another host.",
        panel=(_BOARD, "Steal in guests"),
    ),
)

ALERTS = (*HOST, *GUEST)
