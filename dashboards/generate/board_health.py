# SPDX-License-Identifier: Apache-2.0
"""Whether the exporters can be believed, and what they cost."""

from dashboards.generate import thresholds
from dashboards.generate.panel import VM_LEGEND, Board, Column, Panel, Query, Section

_NONE = "no exporter is scraped"

_OVERVIEW = (
    Panel(
        title="Exporters up",
        kind="state",
        about="Whether Prometheus reaches each exporter that it knows. Red: see the service's log.",
        queries=(
            Query(
                "min by (job, instance) (up{@host} and on (job, instance) "
                "(last_over_time(kvmexporter_build_info[1d]) or "
                "instance:kvmexporter_build_info:known))",
                "{{instance}}",
            ),
        ),
        texts={"0": ("down", "red"), "1": ("up", "green")},
        empty=_NONE,
        width=8,
        height=10,
    ),
    Panel(
        title="Collectors",
        kind="state",
        about="Whether all collectors of each exporter gave their metrics, and each one that did "
        "not; red: kvmexporter dump on that host says why. Those with nothing to read are left "
        "out.",
        queries=(
            Query(
                "min by (job, instance, collector) (kvmexporter_collector_success{@host}) == 0 "
                "or min by (job, instance) (kvmexporter_collector_success{@host})",
                "{{instance}} {{collector}}",
            ),
        ),
        texts={"0": ("failing", "red"), "1": ("ok", "green")},
        empty=_NONE,
        width=16,
        height=10,
    ),
    Panel(
        title="Time by collector",
        about="How long the collectors of each exporter take together, and the ten slowest. "
        "Together above the dashes, that exporter's scrapes begin to time out.",
        queries=(
            Query(
                "sum by (job, instance) (kvmexporter_collector_duration_seconds{@host})",
                "{{instance}} together",
            ),
            Query(
                "topk(10, kvmexporter_collector_duration_seconds{@host})",
                "{{instance}} {{collector}}",
            ),
        ),
        unit="s",
        warn=thresholds.SCRAPE_SECONDS,
        long_legend=True,
        empty=_NONE,
        width=16,
        height=11,
    ),
    Panel(
        title="Probes",
        kind="table",
        about="Whether a host misses any tracepoint, and each one that it misses: what that one "
        "tells of is not counted there. The exporter's log says why.",
        queries=(
            Query(
                "1 - min by (job, instance, tracepoint) (kvmexporter_bpf_attached{@host}) > 0 "
                "or 1 - min by (job, instance) (kvmexporter_bpf_attached{@host})",
                column=Column("Missing", "bool_yes_no", warn=1),
            ),
        ),
        hidden=("job",),
        sort=("Missing",),
        empty="no BPF",
        width=8,
        height=11,
    ),
    Panel(
        title="Events dropped",
        about="Events that found no place in a map, or that the kernel kept from a probe: counts "
        "are too low by as many. By map: restart with a larger --bpf.max-vcpus.",
        queries=(
            Query(
                "increase(kvmexporter_bpf_dropped_events_total{@host}[15m])", "{{instance}} {{map}}"
            ),
            Query(
                "sum by (job, instance) "
                "(increase(kvmexporter_bpf_missed_events_total{@host}[15m]))",
                "{{instance}} kept from probes",
            ),
        ),
        warn=1,
        empty="no BPF",
        width=6,
    ),
    Panel(
        title="BPF maps",
        about="How full the maps are. Above the dashes, make them larger before events are "
        "dropped.",
        queries=(
            Query(
                "kvmexporter_bpf_map_entries{@host} / kvmexporter_bpf_map_max_entries{@host}",
                "{{instance}} {{map}}",
            ),
        ),
        unit="percentunit",
        warn=thresholds.BPF_MAP_FILL,
        empty="no BPF",
        width=6,
    ),
    Panel(
        title="Age of what VMMs said",
        about="How long ago each VMM last said what devices it has; the ten oldest. Above the "
        "dashes, and above three times how often each is asked, it does not answer: devices may "
        "be called unknown. With hundreds of VMs each is asked less often.",
        queries=(
            Query("topk(10, kvmexporter_vm_refresh_age_seconds{@vm})", VM_LEGEND),
            Query(
                "max by (job, instance) (kvmexporter_vm_refresh_interval_seconds{@host})",
                "asked every · {{instance}}",
            ),
        ),
        unit="s",
        warn=thresholds.VM_FACTS_AGE_SECONDS,
        empty="no VMM can be asked",
        width=6,
    ),
    Panel(
        title="Series by VM",
        about="Series of the ten VMs with most, by the budget of their devices. Above the dashes "
        "a VM costs more "
        "than it should.",
        queries=(Query("topk(10, vm:kvm_vm_series:budget_ratio{@vm})", VM_LEGEND),),
        unit="percentunit",
        warn=1,
        empty="no VM runs",
        width=6,
    ),
)

_COST = (
    Panel(
        title="CPU of the exporter",
        about="CPUs that the server takes. It grows with VMs and with the scrapes of all who ask.",
        queries=(
            Query(
                "rate(process_cpu_seconds_total{@host}[$__rate_interval]) and on (job, instance) "
                "kvmexporter_build_info{@host}",
                "{{instance}}",
            ),
        ),
        empty=_NONE,
        width=8,
    ),
    Panel(
        title="Memory of the exporter",
        about="Memory that the server occupies; steady for a steady number of VMs.",
        queries=(
            Query(
                "process_resident_memory_bytes{@host} and on (job, instance) "
                "kvmexporter_build_info{@host}",
                "{{instance}}",
            ),
        ),
        unit="bytes",
        empty=_NONE,
        width=8,
    ),
    Panel(
        title="Descriptors of the exporter",
        about="Descriptors that the server holds. A line that only climbs is a leak: report it.",
        queries=(
            Query(
                "process_open_fds{@host} and on (job, instance) kvmexporter_build_info{@host}",
                "{{instance}}",
            ),
        ),
        empty=_NONE,
        width=8,
    ),
    Panel(
        title="Time of a probe's run",
        about="Processor time of one run of each probe, where the kernel keeps such statistics "
        "(sysctl kernel.bpf_stats_enabled=1). Tens of nanoseconds are normal.",
        queries=(
            Query(
                "sum by (tracepoint) (rate(kvmexporter_bpf_program_run_seconds_total"
                "{@host}[$__rate_interval])) / sum by (tracepoint) (rate("
                "kvmexporter_bpf_program_runs_total{@host}[$__rate_interval]))",
                "{{tracepoint}}",
            ),
        ),
        unit="s",
        empty="the kernel keeps no such statistics (kernel.bpf_stats_enabled)",
    ),
    Panel(
        title="Versions",
        kind="table",
        about="What runs where, and since when. One version everywhere makes hosts comparable.",
        queries=(
            Query("kvmexporter_build_info{@host}"),
            Query(
                "time() - process_start_time_seconds{@host} and on (job, instance) "
                "kvmexporter_build_info{@host}",
                column=Column("Running for", "s"),
            ),
        ),
        hidden=("job",),
        empty=_NONE,
    ),
)

BOARD = Board(
    uid="kvmexporter-health",
    title="KVM / Exporter health",
    about="Whether the exporters can be believed, and what they cost.",
    variables=("job", "instance", "vm"),
    sections=(Section("", _OVERVIEW), Section("Cost", _COST)),
)
