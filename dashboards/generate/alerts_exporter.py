# SPDX-License-Identifier: Apache-2.0
"""Alerts on the exporter itself: whether what the others rest on is there."""

from dashboards.generate import thresholds
from dashboards.generate.alert import COUNT, Alert

_BOARD = "kvmexporter-health"

ALERTS = (
    Alert(
        name="KvmExporterDown",
        severity="critical",
        value="up and on (job, instance) instance:kvmexporter_build_info:known "
        'or up{job=~".*kvmexporter.*"}',
        below=1,
        hold="2m",
        summary="The kvmexporter of {{ $labels.instance }} does not answer",
        meaning="Prometheus cannot scrape an exporter: a target that it has scraped one from "
        "before, or one of a job whose name contains `kvmexporter`, which may never have come up. "
        "Under another job's name, an exporter that was never scraped is not missed. It fires "
        "until the exporter answers or is no target any more. No other alert of this host can "
        "fire.",
        check="On the host: `systemctl status kvmexporter`, its journal, and `kvmexporter dump`, "
        "which needs no "
        "server. From Prometheus: the target page's error text.",
        mend="Restart the service; if it ended by itself, the last line of its log says why. A "
        "host that was taken "
        "down for good is to be removed from the targets.",
        panel=(_BOARD, "Exporters up"),
    ),
    Alert(
        name="KvmExporterCollectorFailed",
        severity="warning",
        value="min by (job, instance, collector) (kvmexporter_collector_success)",
        below=1,
        hold="10m",
        summary="Collector {{ $labels.collector }} of {{ $labels.instance }} gives no metrics",
        meaning="A collector failed, or was asked for by name and has nothing to read. Its "
        "panels are "
        "empty and its alerts silent; the others go on.",
        check="The exporter's log has one line about it, and its page at `/` the reason. "
        "`kvmexporter dump` runs with the privileges of whoever starts it: what it can read the "
        "service may not. Run `kvmexporter doctor` as the service's user and with its "
        "capabilities (`systemctl cat kvmexporter` has both).",
        mend="Do what that line says: it names the missing file, privilege or feature. If "
        "nothing can be done, "
        "`--no-collector.NAME` turns it off.",
        panel=(_BOARD, "Collectors"),
    ),
    Alert(
        name="KvmExporterProbeNotAttached",
        severity="info",
        value="min by (job, instance, tracepoint) (kvmexporter_bpf_attached)",
        below=1,
        hold="15m",
        summary="The probe of {{ $labels.tracepoint }} on {{ $labels.instance }} is not attached",
        meaning="A tracepoint that this kernel does not have, or that the exporter may not use: "
        "what it would count "
        "is missing, the rest is complete. Also fires where a module that was loaded later "
        "brought it.",
        check="The exporter's log has the reason of each probe. `kvmexporter dump` attaches "
        "probes of its own, with the privileges of whoever starts it; `kvmexporter doctor` as "
        "the service's user and with its capabilities (`systemctl cat kvmexporter` has both) "
        "says what the service lacks.",
        mend="Restart the exporter after loading kvm_intel or kvm_amd; grant the capabilities "
        "that docs/install.md lists; lower `kernel.perf_event_paranoid` to 2. "
        "On kernels without the tracepoint, silence it.",
        panel=(_BOARD, "Probes"),
    ),
    Alert(
        name="KvmExporterEventsDropped",
        severity="warning",
        value="sum by (job, instance, map) (increase(kvmexporter_bpf_dropped_events_total[15m]))",
        above=0,
        hold="0m",
        summary=f"{{{{ $labels.instance }}}} lost {COUNT} events because the BPF map "
        "{{ $labels.map }} "
        "was full",
        meaning="Counts are too low from now on: a vCPU thread found no place for its record, or "
        "records of ended "
        "threads were lost.",
        check="The panel *BPF maps* shows how full `vcpus` and `regions` of the exporter are; "
        "compare with the number of vCPUs and VMs of the host. `kvmexporter dump` lists the VMs; "
        "its own maps are new and tell nothing of the exporter's.",
        mend="By `map`. vcpu: restart with a `--bpf.max-vcpus` above the number of vCPUs that "
        "run at once. retired: more than 4,096 threads of vCPUs ended between two scrapes; "
        "scrape more often. clock: the number of vCPUs, as for vcpu, or more than 4,096 VMs, a "
        "size that is fixed.",
        panel=(_BOARD, "Events dropped"),
    ),
    Alert(
        name="KvmExporterEventsMissed",
        severity="warning",
        value="sum by (job, instance, tracepoint) "
        "(increase(kvmexporter_bpf_missed_events_total[15m]))",
        above=0,
        hold="0m",
        summary=f"{{{{ $labels.instance }}}} missed {COUNT} events of {{{{ $labels.tracepoint }}}} "
        "because another BPF program was running on the processor",
        meaning="The kernel keeps a probe from an event that comes while another BPF program, or "
        "the reading of a map, is under way on that processor, and counts such events: what they "
        "would have told is missing. It happens to probes attached as classic tracepoints, on "
        "kernels that may preempt themselves anywhere (`preempt=full`).",
        check="The panel *Events dropped* names the tracepoint; `/proc/cmdline` and "
        "`/sys/kernel/debug/sched/preempt` the kernel's preemption; `bpftool prog` the other BPF "
        "programs of the host. `kvmexporter dump` has probes of its own, and misses others.",
        mend="Boot the host with `preempt=voluntary`, or take away the other tracing of KVM's "
        "tracepoints. A few events among millions change no conclusion.",
        panel=(_BOARD, "Events dropped"),
    ),
    Alert(
        name="KvmExporterMapNearlyFull",
        severity="warning",
        value="max by (job, instance, map) (kvmexporter_bpf_map_entries / "
        "kvmexporter_bpf_map_max_entries)",
        above=thresholds.BPF_MAP_FILL,
        hold="5m",
        summary="The BPF map {{ $labels.map }} on {{ $labels.instance }} is {{ $value | "
        "humanizePercentage }} full",
        meaning="Soon events will be dropped (see "
        "[KvmExporterEventsDropped](KvmExporterEventsDropped.md)), or told without their device.",
        check="The panel *BPF maps* shows the trend. `kvmexporter dump` lists the VMs; its own "
        "maps are new and tell nothing of the exporter's.",
        mend="By `map`. vcpus: restart with a larger `--bpf.max-vcpus` before it is full. "
        "regions: what devices' addresses are known by, of a fixed size, 1,048,576 for all VMs; "
        "when it is full, accesses to devices that find no place are told as `unknown`. Spread "
        "VMs with many devices over more hosts.",
        panel=(_BOARD, "BPF maps"),
    ),
    Alert(
        name="KvmExporterVmFactsStale",
        severity="warning",
        value="max by (job, instance, vm) (kvmexporter_vm_refresh_age_seconds)",
        above=thresholds.VM_FACTS_AGE_SECONDS,
        # With hundreds of VMs each is asked less often.
        guard="max by (job, instance, vm) (kvmexporter_vm_refresh_age_seconds) "
        "> on (job, instance) group_left () "
        "3 * max by (job, instance) (kvmexporter_vm_refresh_interval_seconds)",
        hold="5m",
        summary="The VMM of VM {{ $labels.vm }} on {{ $labels.instance }} has not said for "
        "{{ $value | humanizeDuration }} what devices it has",
        meaning="The VMM does not answer on its QMP socket, or another client holds it. Exits to "
        "devices that "
        "the guest moved meanwhile count as `unknown`.",
        check="`kvmexporter dump` shows the VM's trouble. A QMP socket serves one client at a "
        "time: "
        "`ss -xp` shows who is connected.",
        mend="Give the exporter a QMP socket of its own (`-qmp unix:…,server=on,wait=off`). A "
        "VMM that answers "
        "nobody is hung: look at its threads before restarting it.",
        panel=(_BOARD, "Age of what VMMs said"),
    ),
    Alert(
        name="KvmExporterSlow",
        severity="warning",
        value="sum by (job, instance) (max_over_time(kvmexporter_collector_duration_seconds[5m]))",
        above=thresholds.SCRAPE_SECONDS,
        hold="10m",
        summary="A scrape of {{ $labels.instance }} takes {{ $value | humanizeDuration }}",
        meaning="Collecting is close to Prometheus's time-out; beyond it, scrapes fail and the "
        "host goes dark.",
        check="The panel *Time by collector* names the slow one; `kvmexporter dump` shows the "
        "same.",
        mend="Turn the slow collector off (`--no-collector.NAME`), or scrape less often with a "
        "longer time-out; a "
        "host that is out of CPU needs relief first.",
        panel=(_BOARD, "Time by collector"),
    ),
    Alert(
        name="KvmExporterSeriesBudgetExceeded",
        severity="info",
        value="vm:kvm_vm_series:budget_ratio",
        above=1,
        hold="30m",
        summary="VM {{ $labels.vm }} on {{ $labels.instance }} has {{ $value | humanize }} times "
        "the series that "
        "it should have",
        meaning="A VM is meant to cost at most 150 series with five devices. More of them cost "
        "memory in "
        "Prometheus; a guest may be causing many different exits on purpose.",
        check='`topk(10, count by (__name__) ({vm="NAME"}))` names the metrics; `kvmexporter '
        "dump` shows what the "
        "VM does.",
        mend="Turn off what `--collector.*.*` and `--metrics.all` add and collectors that nobody "
        "looks at, or drop the largest metric with `metric_relabel_configs`.",
        panel=(_BOARD, "Series by VM"),
    ),
)
