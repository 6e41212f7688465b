# SPDX-License-Identifier: Apache-2.0
"""What a large site costs in a Prometheus, from what a host was measured to cost.

    python -m tests.bench.scale

writes `docs/scale.md` anew from `docs/benchmarks.md` and the example configuration.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from dashboards.generate.thresholds import SERIES_OF_A_DEVICE, SERIES_OF_A_VM
from tests.bench import examples
from tests.bench.benchmarks import Benchmarks, Host

HOSTS, VMS_PER_HOST = 1000, 50

# The limit of a scrape: what a host and its VMs may have, and a third more.
HOST_SERIES, _DEVICES = 250, 5
_BUDGET = SERIES_OF_A_VM + _DEVICES * SERIES_OF_A_DEVICE
SAMPLE_LIMIT = (HOST_SERIES + VMS_PER_HOST * _BUDGET) * 4 // 3

# Assumptions; the document says where they come from.
_BLOCK_BYTES_PER_SAMPLE = 2
_WIRE_BYTES_PER_SAMPLE = 21
_HEAD_BYTES_PER_SERIES = 4096
_MIMIR_REPLICAS = 3
_MIMIR_BYTES_PER_SERIES = 2.5e9 / 300_000
_MIMIR_BYTES_PER_RATE = 1e9 / 25_000

_DAY_SECONDS = 86400
_OFTEN_SECONDS = 15
_BENCHMARKS = Path(__file__).parents[2] / "docs" / "benchmarks.md"


@dataclass(frozen=True, slots=True)
class Stage:
    """What is sent or held of all hosts.

    Attributes:
        what: in words.
        of_vm: series of one VM.
        of_host: of one host, without its VMs'.
        samples_per_second: of all.
    """

    what: str
    of_vm: float
    of_host: float
    samples_per_second: float

    @property
    def series(self) -> float:
        """Of all hosts."""
        return (self.of_vm * VMS_PER_HOST + self.of_host) * HOSTS

    @property
    def wire_bits_per_second(self) -> float:
        """By remote write."""
        return self.samples_per_second * _WIRE_BYTES_PER_SAMPLE * 8

    @property
    def bytes_per_day(self) -> float:
        """In blocks."""
        return self.samples_per_second * _BLOCK_BYTES_PER_SAMPLE * _DAY_SECONDS

    @property
    def head_bytes(self) -> float:
        """Memory of a Prometheus that holds it."""
        return self.series * _HEAD_BYTES_PER_SERIES


def stages(host: Host, by_metric: Mapping[str, float]) -> list[Stage]:
    """From all that is served to what the long term keeps."""
    scrape = examples.scrape()
    interval = examples.seconds(scrape["scrape_interval"])
    own = host.own_series
    dropped = sum(
        count
        for name, count in by_metric.items()
        if not examples.keeps(scrape["metric_relabel_configs"], {"__name__": name})
    )
    sent = _scraped("what agents send to their site", host.series_per_vm - dropped, own, interval)
    recorded = [
        one
        for one in examples.recorded()
        if examples.keeps(examples.far(), {"__name__": one.record})
    ]
    far = Stage(
        "what the sites send far: recorded series",
        sum(one.series for one in recorded if one.of_vm),
        sum(one.series for one in recorded if not one.of_vm),
        sum(
            one.series * (VMS_PER_HOST if one.of_vm else 1) * HOSTS / one.interval_seconds
            for one in recorded
        ),
    )
    held = Stage(
        "what the sites hold: that, and what their rules record",
        sent.of_vm + far.of_vm,
        sent.of_host + far.of_host,
        sent.samples_per_second + far.samples_per_second,
    )
    return [
        _scraped(f"all, every {_OFTEN_SECONDS} s", host.series_per_vm, own, _OFTEN_SECONDS),
        _scraped(f"all, every {interval} s", host.series_per_vm, own, interval),
        sent, held, far,
    ]  # fmt: skip


def _scraped(what: str, of_vm: float, of_host: float, interval_seconds: int) -> Stage:
    stage = Stage(what, of_vm, of_host, 0)
    return replace(stage, samples_per_second=stage.series / interval_seconds)


def _of_stages(found: list[Stage]) -> list[str]:
    return [
        "| of all hosts | series of a VM | of a host | series | samples a second | remote write "
        "| disk a day | memory |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
        *(
            f"| {one.what} | {one.of_vm:.0f} | {one.of_host:.0f} | {_millions(one.series)} "
            f"| {_thousands(one.samples_per_second)} | {one.wire_bits_per_second / 1e6:.0f} Mbit/s "
            f"| {_gigabytes(one.bytes_per_day)} | {_gigabytes(one.head_bytes)} |"
            for one in found
        ),
    ]


def _of_stores(sent: Stage, held: Stage, far: Stage) -> list[str]:
    lines = [
        "| far store | of | active series | held in memory | samples a second | memory "
        "| blocks a day |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for what, one in (("recorded series", far), ("what agents send", sent)):
        in_mimir = one.series * _MIMIR_REPLICAS
        memory = in_mimir * _MIMIR_BYTES_PER_SERIES + one.samples_per_second * _MIMIR_BYTES_PER_RATE
        lines += [
            _store("Mimir", what, one, in_mimir, memory),
            _store("Thanos Receive", what, one, one.series, one.head_bytes),
        ]
    return [*lines, _store("Thanos sidecars", "what the sites hold", held, 0, 0)]


def _store(store: str, what: str, one: Stage, in_memory: float, memory: float) -> str:
    held, needed = (_millions(in_memory), _gigabytes(memory)) if in_memory else ("-", "-")
    return (
        f"| {store} | {what} | {_millions(one.series)} | {held} "
        f"| {_thousands(one.samples_per_second)} | {needed} | {_gigabytes(one.bytes_per_day)} |"
    )


def _millions(number: float) -> str:
    return f"{number / 1e6:.1f} M"


def _thousands(number: float) -> str:
    return f"{number / 1e3:,.0f} k"


def _gigabytes(number: float) -> str:
    return f"{number / 1e9:,.0f} GB"


def document(benchmarks: str) -> str:
    """`docs/scale.md`.

    Args:
        benchmarks: `docs/benchmarks.md`.

    Raises:
        ValueError: it has no fleets around the size of a host.
    """
    measured = Benchmarks(benchmarks)
    host = measured.host(VMS_PER_HOST)
    found = stages(host, measured.by_metric)
    everything, sent, held, far = found[1:]
    scrape = examples.scrape()
    interval = examples.seconds(scrape["scrape_interval"])
    panels, alerts = examples.panels(), examples.alerts()
    return _TEXT.format(
        hosts=HOSTS, vms=VMS_PER_HOST, series=host.series, own=host.own_series,
        of_vm=host.series_per_vm, all_series=_millions(everything.series),
        kib=host.gzip_bytes / 1024, interval=interval,
        mbit=host.gzip_bytes * HOSTS * 8 / interval / 1e6,
        ms=host.cpu_seconds * 1e3, share=100 * host.cpu_seconds / interval,
        source=host.source, of_vms=far.of_vm, of_hosts=far.of_host,
        block_bytes=_BLOCK_BYTES_PER_SAMPLE, wire_bytes=_WIRE_BYTES_PER_SAMPLE,
        head_bytes=_HEAD_BYTES_PER_SERIES, replicas=_MIMIR_REPLICAS,
        limit=scrape["sample_limit"], host_series=HOST_SERIES, budget=_BUDGET,
        per_vcpu=_with_vcpus(measured, host),
        panels=len(panels), panels_far=sum(panels.values()), alerts=len(alerts),
        alerts_far=sum(alerts.values()),
        stages="\n".join(_of_stages(found)), stores="\n".join(_of_stores(sent, held, far)),
    )  # fmt: skip


def _with_vcpus(measured: Benchmarks, host: Host) -> str:
    """Series of the host if exits were counted by vCPU, too."""
    if not measured.per_vcpu:
        return "was not measured"
    series = host.own_series + host.vms * measured.per_vcpu[0].series_per_vm
    return f"would have {series:,.0f}"


_TEXT = """\
# Beyond one host

Made by `make bench` from what it measured (`benchmarks.md`) and from the files in `examples`; by
`python -m tests.bench.scale` anew when those alone have changed: do not edit.

{hosts:,} hosts of {vms} VMs, each VM of 8 vCPUs with five devices:

| | a host | all |
| --- | --- | --- |
| series | {series:,.0f}: {own:.0f} of the host, {of_vm:.0f} of each VM | {all_series} |
| a response, gzip-encoded | {kib:,.0f} KiB | {mbit:,.0f} Mbit/s, one every {interval} s |
| processor time of a scrape | {ms:,.0f} ms | {share:.2f} % of a processor of each host |

A host of {vms} VMs is taken {source}.

{stages}

Series of the rules are counted by their expressions and by the labels of the VM that was measured:
{of_vms:.0f} of a VM and {of_hosts:.0f} of a host, each rule as if it had something to record;
where there is no vhost or no clock that can be read there are fewer. Of several sites each has its
share: 200 hosts are a fifth of all this.

{stores}

Active series are counted once each. A sidecar uploads the blocks of its site's Prometheus, and can
leave nothing out of them. Assumed, and not measured with the rest:

- {block_bytes} bytes a sample in blocks, index included:
  [Prometheus's documentation][storage] says 1 to 2, [Mimir's][mimir] reckons with 2. Blocks are
  counted once, as after compaction: until then Mimir has them {replicas} times. Thanos's
  downsampling [adds up to twice as much][thanos].
- {wire_bytes} bytes a sample of remote write: what Prometheus 2.42 as an agent sent of the
  recorded guest's series when it was tried. Version 1 of the protocol repeats a series' labels with
  each sample.
- {head_bytes:,} bytes of memory a series in a Prometheus or in Thanos Receive: a rule of thumb
  for some six labels and three hours of samples, as [Robust Perception reckons them][memory];
  queries come on top. Thanos Receive keeps a series once unless `--receive.replication-factor` says
  otherwise.
- As [Mimir's documentation][mimir] has it, {replicas} replicas of each series, 2.5 GB of memory
  for every 300,000 of them and 1 GB for every 25,000 samples a second that come in. It wants half
  as much again for peaks, and memory for queries; neither is in the table.

Put in your own: `prometheus_tsdb_head_series`, `prometheus_remote_storage_bytes_total` by
`prometheus_remote_storage_samples_total`, and the processes' memory.

## What keeps it affordable

1. Recorded series alone go far. Agents near the hosts (`examples/prometheus-agent.yml`), one for
   some hundreds of them, scrape and send; they evaluate no rules. A Prometheus of the site
   (`examples/prometheus-site.yml`), which takes that in when it is started with
   `--web.enable-remote-write-receiver`, holds everything for days, evaluates the shipped rules and
   `examples/recording-rules.yml`, and its `write_relabel_configs` keep what these record.
2. A scrape every {interval} s: exits and kicks are counters, nothing between two scrapes is lost.
3. What does not move with a guest's load, and distributions by class and device and of halts, are
   not served unless asked for (`--metrics.all`). Agents drop these distributions even then, and
   `kvm_vm_unserved_events`: no shipped dashboard, alert or rule asks for them. `kvmexporter dump`
   tells them of one host when they are wanted.
4. `sample_limit` is {limit:,}: {host_series} series of a host and {budget} of each of its {vms}
   VMs, as many as one with five devices may have, and a third more. The same host with
   `--collector.exits.per-vcpu` {per_vcpu}; it is refused whole, its `up` is 0, and
   `KvmExporterDown` fires. That flag is for one host and for as long as one looks, in a scrape job
   of its own.

Dashboards and alerts ask the site's Prometheus, and miss nothing there: buckets, of which two
heatmaps and two recorded quantiles are made, are left out on the way to the far store only. There,
those panels and alerts have an answer that ask for recorded series alone, {panels_far} of the
{panels} shipped panels and {alerts_far} of the {alerts} alerts; all others are empty, and so are
the choices of instances and VMs but for All.

The files are checked by `promtool` in the tests; the rules with the recorded guest's series.

[storage]: https://prometheus.io/docs/prometheus/latest/storage/
[mimir]: https://grafana.com/docs/mimir/latest/manage/run-production-environment/planning-capacity/
[thanos]: https://thanos.io/tip/components/compact.md/
[memory]: https://www.robustperception.io/how-much-ram-does-prometheus-2-x-need-for-cardinality-and-ingestion/
"""


def main() -> None:
    """Write the document anew."""
    text = document(_BENCHMARKS.read_text())
    _BENCHMARKS.with_name("scale.md").write_text(text)


if __name__ == "__main__":
    main()
