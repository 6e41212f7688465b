# SPDX-License-Identifier: Apache-2.0
"""Hosts and VMs at a glance, worst first."""

from dashboards.generate import panels_devices, thresholds
from dashboards.generate.panel import VM_LEGEND, Board, Column, Panel, Query, Section
from dashboards.generate.recording import VM

_OURS = 'alertname=~"Kvm.+"'
# Of the chosen VMs, and of what is no VM.
_FIRING = f'ALERTS{{alertstate="firing", {_OURS}, @host, vm=~"$vm|"}}'
_FIRING_OF_VMS = f'ALERTS{{alertstate="firing", {_OURS}, @vm, vm!=""}}'
# Prometheus has no series of an alert that neither fires nor is about to: of a week without any it
# cannot be told whether all was well or whether it was not Prometheus that evaluated the rules.
_EVALUATED = f"present_over_time(ALERTS{{{_OURS}}}[7d])"
_A_HOST = "kvm_host_clock_synchronized{@host}"

BOARD = Board(
    uid="kvmexporter-fleet",
    title="KVM / Fleet",
    about="Hosts and VMs at a glance, worst first. Start here; a VM's name opens its exits.",
    variables=("job", "instance", "vm"),
    sections=(
        Section(
            "",
            (
                Panel(
                    title="Exporters that answer",
                    kind="stat",
                    about="Exporters that Prometheus could scrape last. Fewer than there are "
                    "hosts: see "
                    "KVM / Exporter health.",
                    queries=(Query("count(kvmexporter_build_info{@host})", "exporters"),),
                    empty="none",
                    width=4,
                    height=4,
                ),
                Panel(
                    title="VMs",
                    kind="stat",
                    about="VMs that run on the chosen hosts.",
                    queries=(Query("count(kvm_vm_info{@vm})", "VMs"),),
                    empty="no VM runs",
                    width=4,
                    height=4,
                ),
                Panel(
                    title="vCPUs",
                    kind="stat",
                    about="Virtual CPUs of the chosen VMs together. Compare with the CPUs of the "
                    "hosts: beyond "
                    "them, watch Steal.",
                    queries=(Query("sum(kvm_vm_vcpus{@vm})", "vCPUs"),),
                    empty="no VM runs",
                    width=4,
                    height=4,
                ),
                Panel(
                    title="VM memory in use",
                    kind="stat",
                    about="Host memory that the chosen VMs occupy, of what they were promised.",
                    queries=(
                        Query("sum(kvm_vm_resident_memory_bytes{@vm})", "resident"),
                        Query("sum(kvm_vm_memory_max_bytes{@vm})", "promised"),
                    ),
                    unit="bytes",
                    empty="no VM runs",
                    width=4,
                    height=4,
                ),
                Panel(
                    title="Hosts not on their TSC",
                    kind="stat",
                    about="Hosts whose clocksource is not the processor's counter: their guests "
                    "have no master "
                    "clock. See KVM / Timekeeping.",
                    queries=(
                        Query(
                            'count(kvm_host_clocksource_info{@host, state="current", '
                            f'clocksource!~"{thresholds.HOST_CLOCKSOURCES}"}}) or '
                            'count(kvm_host_clocksource_info{@host, state="current"}) * 0',
                            "hosts",
                        ),
                    ),
                    warn=1,
                    empty="no host",
                    width=4,
                    height=4,
                ),
                Panel(
                    title="Alerts firing",
                    kind="stat",
                    about="Alerts of kvmexporter that Prometheus has firing now; they are listed "
                    "below. It knows of none in a week: nothing was wrong, or it does not have the "
                    "rules. Where Grafana evaluates them, see its alert list instead.",
                    queries=(Query(f"count({_FIRING}) or count({_EVALUATED}) * 0", "alerts"),),
                    warn=1,
                    empty="none known",
                    width=4,
                    height=4,
                ),
                Panel(
                    title="VMs, worst first",
                    kind="table",
                    about="Every VM with what tells a sick one: exits per vCPU and second (idle "
                    "ones left out), "
                    "those that the VMM had to handle, the 99th percentile of handling them, and "
                    "the share of "
                    "time vCPUs waited for a CPU. Most alerts first, of Prometheus's, then most "
                    "exits. Red is beyond an alert's bound; it fires once that lasts. Click a VM "
                    "for its exits.",
                    queries=(
                        Query(
                            f"count by ({VM}) ({_FIRING_OF_VMS}) or "
                            f"max by ({VM}) (kvm_vm_vcpus{{@vm}}) * 0 and on () {_EVALUATED}",
                            column=Column("Alerts firing", warn=1),
                        ),
                        Query(
                            "vm:kvm_vm_exits_per_vcpu:rate5m{@vm}",
                            column=Column("Exits/s per vCPU", "cps", thresholds.EXITS),
                        ),
                        Query(
                            "vm:kvm_vm_userspace_exits_per_vcpu:rate5m{@vm}",
                            column=Column("To the VMM/s", "cps", thresholds.USERSPACE_EXITS),
                        ),
                        Query(
                            "vm:kvm_vm_exit_stall_seconds:p99_5m{@vm}",
                            column=Column("Handling p99", "s", thresholds.EXIT_HANDLING_SECONDS),
                        ),
                        Query(
                            "vm:kvm_vm_run_delay_per_vcpu:rate5m{@vm}",
                            column=Column("Steal", "percentunit", thresholds.STEAL),
                        ),
                        Query(
                            f"sum by ({VM}) (rate(kvm_vm_vcpu_cpu_seconds_total{{@vm}}[5m]))",
                            column=Column("CPUs used", "short"),
                        ),
                        Query(
                            f"max by ({VM}) (kvm_vm_vcpus{{@vm}})", column=Column("vCPUs", "short")
                        ),
                        Query(
                            f"max by ({VM}) (kvm_vm_resident_memory_bytes{{@vm}})",
                            column=Column("Memory", "bytes"),
                        ),
                    ),
                    hidden=("job",),
                    sort=("Alerts firing", "Exits/s per vCPU"),
                    link="kvmexporter-exits",
                    empty="no VM runs on the chosen hosts",
                    width=24,
                    height=9,
                ),
                Panel(
                    title="Hosts",
                    kind="table",
                    about="Every host of the last day with its clock and its load of VMs. Not "
                    "synchronised or far off its reference: its guests' time is wrong, too. Most "
                    "alerts first, of Prometheus's, its VMs' included. Click for its clocks.",
                    queries=(
                        Query(
                            f"count by (job, instance) ({_FIRING}) and on (job, instance) "
                            f"last_over_time({_A_HOST}[1d]) or "
                            f"max by (job, instance) ({_A_HOST}) * 0 and on () {_EVALUATED}",
                            column=Column("Alerts firing", warn=1),
                        ),
                        Query(
                            "count by (job, instance) (kvm_vm_info{@host})", column=Column("VMs")
                        ),
                        Query(
                            "sum by (job, instance) (kvm_vm_vcpus{@host})", column=Column("vCPUs")
                        ),
                        Query(
                            "min by (job, instance) (kvm_host_clock_synchronized{@host})",
                            column=Column("Synchronised", "bool_yes_no", 1, warn_below=True),
                        ),
                        Query(
                            "max by (job, instance) (abs(kvm_host_clock_offset_seconds{@host}))",
                            column=Column("Clock offset", "s", thresholds.CLOCK_OFFSET_SECONDS),
                        ),
                        Query(
                            "max by (job, instance, clocksource) "
                            '(kvm_host_clocksource_info{@host, state="current"})',
                        ),
                    ),
                    hidden=("job",),
                    sort=("Alerts firing", "Synchronised", "Clock offset"),
                    link="kvmexporter-timekeeping",
                    empty="no host is scraped",
                ),
                Panel(
                    title="Alerts",
                    kind="table",
                    about="What Prometheus has firing now and about whom. The alert's runbook says "
                    "what to do: runbooks/, by the alert's name. Grafana lists its own alerts "
                    "elsewhere.",
                    queries=(Query(f"max by (alertname, severity, {VM}) ({_FIRING})"),),
                    hidden=("job",),
                    empty="nothing fires in Prometheus",
                ),
                Panel(
                    title="Findings",
                    kind="table",
                    about="What kvmexporter advises about, by VM; without a VM it is about the "
                    "host. "
                    "docs/findings.md has each rule's reason and remedy, kvmexporter dump the "
                    "evidence.",
                    queries=(
                        Query(
                            f"max by (severity, rule, {VM}) (kvm_findings{{@host}})",
                            column=Column("Findings"),
                        ),
                    ),
                    hidden=("job",),
                    empty="nothing to advise",
                    width=24,
                ),
                Panel(
                    title="Busiest VMs by exits",
                    about="The ten VMs with the most exits per vCPU. A line that climbs over the "
                    "dashes and over its "
                    "own past is a storm; open the VM.",
                    queries=(
                        Query(
                            "topk(10, vm:kvm_vm_exits_per_vcpu:rate5m{@vm})",
                            VM_LEGEND,
                        ),
                    ),
                    unit="cps",
                    warn=thresholds.EXITS,
                    empty="no exits are counted: does the host have BPF? See KVM / Exporter health",
                ),
                Panel(
                    title="Most delayed VMs",
                    about="The ten VMs whose vCPUs wait longest for a CPU of the host. Several "
                    "at once: the host is "
                    "overcommitted, move one away.",
                    queries=(
                        Query(
                            "topk(10, vm:kvm_vm_run_delay_per_vcpu:rate5m{@vm})",
                            VM_LEGEND,
                        ),
                    ),
                    unit="percentunit",
                    warn=thresholds.STEAL,
                    empty="no VM runs",
                ),
            ),
        ),
        Section(
            "Inventory",
            (
                Panel(
                    title="What the VMs are",
                    kind="table",
                    about="Every VM with its process, VMM, machine type and CPU model, and where "
                    "its name is from.",
                    queries=(Query("kvm_vm_info{@vm}"),),
                    hidden=("job",),
                    link="kvmexporter-exits",
                    empty="no VM runs",
                    width=24,
                    height=10,
                ),
                *panels_devices.HOSTS,
            ),
        ),
    ),
)
