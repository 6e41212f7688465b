# SPDX-License-Identifier: Apache-2.0
"""What a large site costs in a Prometheus, from what one VM was measured to cost."""

from dataclasses import dataclass

from tests.bench.scrape import Cost

HOSTS, VMS_PER_HOST = 1000, 50

# Rules of thumb, to be replaced with one's own; the document says so.
_TSDB_BYTES_PER_SAMPLE = 1.5
_WIRE_BYTES_PER_SAMPLE = 4
_HEAD_BYTES_PER_SERIES = 4096
_REPLICAS = 3
_DAY_SECONDS = 86400

# As docs/examples has them: by VM alone, and by path and handler of its I/O.
_RULES_PER_VM = 3
_RULES_BY_PATH = 6


@dataclass(frozen=True, slots=True)
class Stage:
    """What is stored of the site with one choice of relabelling."""

    what: str
    per_vm: float
    interval_seconds: int

    @property
    def series(self) -> float:
        """Of all VMs."""
        return self.per_vm * HOSTS * VMS_PER_HOST

    @property
    def samples_per_second(self) -> float:
        """Of all VMs."""
        return self.series / self.interval_seconds


def stages(cost: Cost) -> list[Stage]:
    """From everything to what long-term storage needs."""
    everything = cost.series_per_vm
    buckets = sum(count for name, count in cost.by_metric.items() if name.endswith("_bucket"))
    exits = cost.by_metric.get("kvm_vm_exits_total", 0)
    # There are no more classes than reasons.
    recorded = _RULES_PER_VM + _RULES_BY_PATH + exits
    return [
        Stage("everything, every 15 s", everything, 15),
        Stage("everything, every 30 s", everything, 30),
        Stage("and without buckets: what the agent sends far", everything - buckets, 30),
        Stage("recorded series alone, for the long term", recorded, 60),
    ]


def document(cost: Cost) -> str:
    """`docs/scale.md`."""
    scrape_bytes = cost.gzip_bytes / cost.vms * VMS_PER_HOST
    rate = scrape_bytes * HOSTS / 30
    lines = [
        "# Beyond one host",
        "",
        "Made by `make bench` from what it measured: do not edit.",
        "",
        f"{HOSTS:,} hosts of {VMS_PER_HOST} VMs. One VM of 8 vCPUs with five devices has",
        f"{cost.series_per_vm:.0f} series, and costs {cost.gzip_bytes / cost.vms:,.0f} bytes of a",
        f"gzip-encoded response, {cost.cpu_seconds / cost.vms * 1e6:,.0f} µs of its host's",
        f"processor a scrape. A host's response is {scrape_bytes / 1024:,.0f} KiB; scraped every",
        f"30 s, all of them send {rate * 8 / 1e6:,.0f} Mbit/s.",
        "",
        "| stored | series of a VM | series | samples a second | remote write "
        "| disk a day | memory |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for one in stages(cost):
        wire = one.samples_per_second * _WIRE_BYTES_PER_SAMPLE * 8 / 1e6
        disk = one.samples_per_second * _TSDB_BYTES_PER_SAMPLE * _DAY_SECONDS / 1e9
        memory = one.series * _HEAD_BYTES_PER_SERIES / 1e9
        lines.append(
            f"| {one.what} | {one.per_vm:.0f} | {one.series / 1e6:.1f} M "
            f"| {one.samples_per_second / 1e3:,.0f} k | {wire:,.0f} Mbit/s | {disk:,.0f} GB "
            f"| {memory:,.0f} GB |"
        )
    lines += [
        "",
        f"Reckoned with {_TSDB_BYTES_PER_SAMPLE} bytes a sample on disk, "
        f"{_WIRE_BYTES_PER_SAMPLE} on the wire and {_HEAD_BYTES_PER_SERIES} bytes",
        "of memory a series: rules of thumb. Put in your own: `prometheus_tsdb_head_series`,",
        "`prometheus_remote_storage_bytes_total` and the process's memory tell them. Mimir and",
        f"Thanos Receive keep each series {_REPLICAS} times unless told otherwise: memory and the",
        f"first day's disk times {_REPLICAS}, object storage once after compaction.",
        "",
        "What keeps it affordable, in the order of what it saves:",
        "",
        "1. Agents near the hosts (`examples/prometheus-agent.yml`), one for some hundreds of",
        "   them, every 30 s: exits and kicks are counters, nothing between two scrapes is lost.",
        "2. Buckets stay near: the agent's site keeps them for days, quantiles are recorded",
        "   (`examples/recording-rules.yml`), and only those go far.",
        "3. What does not move with a guest's load, and distributions by class and device, are not",
        "   served unless asked for (`--metrics.all`), and dropped at the scrape where they are:",
        "   `kvmexporter dump` tells them of one host when they are wanted.",
        "4. `sample_limit` refuses a host that suddenly has thousands of series, as with",
        "   `--collector.exits.per-vcpu`, which belongs on one host for as long as one looks.",
        "5. The long term keeps recorded series alone: exits by class, I/O by path and handler,",
        "   the 99th percentile of handling, run delay.",
        "",
        "Both files are checked by `promtool` in the tests.",
    ]
    return "\n".join(lines) + "\n"
