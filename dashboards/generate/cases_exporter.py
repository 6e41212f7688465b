# SPDX-License-Identifier: Apache-2.0
"""Courses of events for the alerts on the exporter."""

from typing import Final

from dashboards.generate.promtool import Case

_BUILD = 'kvmexporter_build_info{version="0.1.0",python="3.11.2"}'
_MANY = {
    f'kvm_vm_msr_accesses_total{{vm="web",msr="{i}",direction="read"}}': "0x80" for i in range(200)
}

CASES: Final[dict[str, tuple[Case, ...]]] = {
    "KvmExporterDown": (
        Case(
            about="killed",
            series={"up": "1x20 0x40", _BUILD: "1x20"},
            fires=(({}, "The kvmexporter of host-1 does not answer"),),
        ),
        Case(
            about="killed, and still dead a day later",
            series={"up": "1x20 0x3200", _BUILD: "1x20 stale"},
            at="26h",
            fires=(({}, "The kvmexporter of host-1 does not answer"),),
        ),
        Case(
            about="one that never came up",
            series={'up{job="kvmexporter"}': "0x60"},
            fires=(({"job": "kvmexporter"}, "The kvmexporter of host-1 does not answer"),),
        ),
        Case(
            about="dead, and taken from the targets",
            series={"up": "1x20 0x40 stale", _BUILD: "1x20 stale"},
            at="40m",
        ),
        Case(
            about="one scrape missed",
            series={"up": "1x20 0 1x40", _BUILD: "1x20 _ 1x40"},
            at="10m30s",
        ),
        Case(about="another job's target is down", series={"up": "0x60"}),
    ),
    "KvmExporterCollectorFailed": (
        Case(
            about="fails on",
            series={'kvmexporter_collector_success{collector="io"}': "1x10 0x50"},
            fires=(({"collector": "io"}, "Collector io of host-1 gives no metrics"),),
        ),
        Case(
            about="fails once",
            series={'kvmexporter_collector_success{collector="io"}': "1x30 0 1x30"},
            at="15m30s",
        ),
    ),
    "KvmExporterProbeNotAttached": (
        Case(
            about="a kernel without the tracepoint",
            series={'kvmexporter_bpf_attached{tracepoint="kvm_exit"}': "0x60"},
            fires=(
                ({"tracepoint": "kvm_exit"}, "The probe of kvm_exit on host-1 is not attached"),
            ),
        ),
        Case(about="attached", series={'kvmexporter_bpf_attached{tracepoint="kvm_exit"}': "1x60"}),
    ),
    "KvmExporterEventsMissed": (
        Case(
            about="a kernel that preempts itself",
            series={'kvmexporter_bpf_missed_events_total{tracepoint="kvm_exit"}': "0x20 0+3x40"},
            at="26m",
            fires=(
                (
                    {"tracepoint": "kvm_exit"},
                    "host-1 missed 90 events of kvm_exit because another BPF program was running "
                    "on the processor",
                ),
            ),
        ),
        Case(
            about="missed long ago",
            series={'kvmexporter_bpf_missed_events_total{tracepoint="kvm_exit"}': "7x40"},
            at="30m",
        ),
    ),
    "KvmExporterEventsDropped": (
        Case(
            about="a full map",
            series={'kvmexporter_bpf_dropped_events_total{map="vcpu"}': "0x20 0+50x40"},
            at="26m",
            fires=(({"map": "vcpu"}, "host-1 lost 1500 events because the BPF map vcpu was full"),),
        ),
        Case(
            about="three events, and scrapes are missing at the window's ends",
            series={'kvmexporter_bpf_dropped_events_total{map="clock"}': "5x9 _ 5x10 8x18 _ 8x20"},
            fires=(({"map": "clock"}, "host-1 lost 3 events because the BPF map clock was full"),),
        ),
        Case(
            about="dropped long ago, and the exporter starts anew",
            series={'kvmexporter_bpf_dropped_events_total{map="vcpu"}': "500x40 0x40"},
            at="30m",
        ),
    ),
    "KvmExporterMapNearlyFull": (
        Case(
            about="15,000 of 16,384",
            series={
                'kvmexporter_bpf_map_entries{map="vcpus"}': "15000x60",
                'kvmexporter_bpf_map_max_entries{map="vcpus"}': "16384x60",
            },
            fires=(({"map": "vcpus"}, "The BPF map vcpus on host-1 is 91.55% full"),),
        ),
        Case(
            about="half full",
            series={
                'kvmexporter_bpf_map_entries{map="vcpus"}': "8192x60",
                'kvmexporter_bpf_map_max_entries{map="vcpus"}': "16384x60",
            },
        ),
    ),
    "KvmExporterVmFactsStale": (
        Case(
            about="a VMM that hangs",
            series={
                'kvmexporter_vm_refresh_age_seconds{vm="web"}': "0+30x60",
                "kvmexporter_vm_refresh_interval_seconds": "60x60",
            },
            fires=(
                (
                    {"vm": "web"},
                    "The VMM of VM web on host-1 has not said for 20m 0s what devices it has",
                ),
            ),
        ),
        Case(
            about="asked every minute",
            series={
                'kvmexporter_vm_refresh_age_seconds{vm="web"}': "5x20 35x20 5x20",
                "kvmexporter_vm_refresh_interval_seconds": "60x60",
            },
        ),
        Case(
            about="one of so many that each is asked every ten minutes",
            series={
                'kvmexporter_vm_refresh_age_seconds{vm="web"}': "0+60x15 900x15 0x30",
                "kvmexporter_vm_refresh_interval_seconds": "600x60",
            },
        ),
    ),
    "KvmExporterSlow": (
        Case(
            about="six seconds together",
            series={
                'kvmexporter_collector_duration_seconds{collector="io"}': "2x60",
                'kvmexporter_collector_duration_seconds{collector="kvm_stats"}': "4x60",
            },
            fires=(({}, "A scrape of host-1 takes 6s"),),
        ),
        Case(
            about="one slow scrape",
            series={'kvmexporter_collector_duration_seconds{collector="io"}': "0.01x20 7 0.01x40"},
        ),
    ),
    "KvmExporterSeriesBudgetExceeded": (
        Case(
            about="200 registers and no device",
            series={'kvm_vm_vcpus{vm="web"}': "1x100"} | dict.fromkeys(_MANY, "0x100"),
            at="40m",
            fires=(
                ({"vm": "web"}, "VM web on host-1 has 1.34 times the series that it should have"),
            ),
        ),
        Case(
            about="as many, with ten devices",
            series={'kvm_vm_vcpus{vm="web"}': "1x100"}
            | dict.fromkeys(_MANY, "0x100")
            | {
                f'kvm_vm_device_info{{vm="web",device="{i}",driver="nic",path="vhost"}}': "1x100"
                for i in range(10)
            },
            at="40m",
        ),
    ),
}
