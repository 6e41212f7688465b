# SPDX-License-Identifier: Apache-2.0
"""What a large site costs: read from what was measured, reckoned as the example configuration does.

The document itself is made by `python -m tests.bench.scale`.
"""

from pathlib import Path

import pytest

from tests.bench import examples, scale
from tests.bench.benchmarks import Benchmarks

DOCS = Path(__file__).parents[2] / "docs"
MEASURED = """\
# What it costs

## A scrape, by VMs of 8 vCPUs and five devices

| VMs | per vCPU | without | CPU | ± | wall | text | gzip | server | series | per VM |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| 10 | off | - | 14 ms | 1 ms | 14 ms | 0.1 MiB | 17 KiB | 49 MiB | 1,576 | 138 |
| 100 | off | - | 59 ms | 36 ms | 59 ms | 1.2 MiB | 71 KiB | 49 MiB | 13,996 | 138 |
| 100 | off | io | 56 ms | 4 ms | 56 ms | 0.9 MiB | 59 KiB | 51 MiB | 11,694 | 115 |
| 500 | on | - | 323 ms | 123 ms | 324 ms | 10.7 MiB | 560 KiB | 85 MiB | 129,200 | 258 |

## By collector, 100 VMs

| collector | series of a VM | time of a scrape |
| --- | --- | --- |
| vms | 4.0 | 1.4 ms |

## Series of one VM, by metric

| metric | series |
| --- | --- |
| `kvm_vm_exits_total` | 16.0 |
| `kvm_vm_unserved_events` | 2.0 |
"""
FIFTY = "| 50 | off | - | 30 ms | 1 ms | 31 ms | 0.6 MiB | 37 KiB | 49 MiB | 7,100 | 138 |\n"


def test_a_size_between_is_on_the_line() -> None:
    """A fixed cost and one a VM: a host of 50 is no twentieth of one of 1,000."""
    host = Benchmarks(MEASURED).host(50)
    assert host.cpu_seconds == pytest.approx(0.014 + 0.045 * 40 / 90)
    assert host.gzip_bytes == pytest.approx((17 + 54 * 40 / 90) * 1024)
    assert (host.series, host.own_series) == (7096, 196)
    assert "between 10 and 100 VMs" in host.source


def test_a_size_that_was_measured_is_taken_as_it_is() -> None:
    """No line is drawn past it."""
    text = MEASURED.replace("| 100 | off | - |", f"{FIFTY}| 100 | off | - |")
    host = Benchmarks(text).host(50)
    assert (host.cpu_seconds, host.gzip_bytes) == (0.03, 37 * 1024)
    assert (host.series, host.own_series) == (7100, 200)
    assert host.source == "as it was measured"


@pytest.mark.parametrize("vms", [9, 101])
def test_nothing_is_told_of_sizes_beyond(vms: int) -> None:
    """Neither fewer than the least nor more than the most, whatever was measured by vCPU."""
    with pytest.raises(ValueError, match=f"no fleets of {vms} VMs, or of fewer and of more"):
        Benchmarks(MEASURED).host(vms)


def test_stages() -> None:
    """Hosts' own series count, what agents drop does not, rules are as often as their groups."""
    measured = Benchmarks(MEASURED)
    often, everything, sent, held, far = scale.stages(measured.host(50), measured.by_metric)
    assert often.series == everything.series == 1000 * 7096
    assert often.samples_per_second == pytest.approx(7_096_000 / 15)
    assert everything.samples_per_second == pytest.approx(7_096_000 / 30)
    assert sent.series == 1000 * (7096 - 50 * 2)
    assert sent.samples_per_second == pytest.approx(6_996_000 / 30)
    rules = examples.recorded()
    assert far.of_vm == sum(one.series for one in rules if one.of_vm)
    rate = sum(one.series / one.interval_seconds * (50 if one.of_vm else 1) for one in rules)
    assert far.samples_per_second == pytest.approx(1000 * rate)
    assert held.series == sent.series + far.series
    assert held.samples_per_second == pytest.approx(sent.samples_per_second + rate * 1000)


def test_quantities_of_a_stage() -> None:
    """By the assumptions that the document names: 2 and 21 bytes a sample, 4,096 a series."""
    stage = scale.Stage("", of_vm=30, of_host=500, samples_per_second=10_000)
    assert stage.series == 2_000_000
    assert stage.wire_bits_per_second == 10_000 * 21 * 8
    assert stage.bytes_per_day == 10_000 * 2 * 86_400
    assert stage.head_bytes == 2_000_000 * 4096


def test_the_stores() -> None:
    """Mimir holds three of each series, by its own numbers for memory; blocks are there once."""
    measured = Benchmarks(MEASURED)
    sent = scale.stages(measured.host(50), measured.by_metric)[2]
    rate = sent.samples_per_second
    memory = 3 * sent.series / 300_000 * 2.5 + rate / 25_000
    row = (
        f"| Mimir | what agents send | {sent.series / 1e6:.1f} M | {3 * sent.series / 1e6:.1f} M "
        f"| {rate / 1e3:.0f} k | {memory:.0f} GB | {rate * 2 * 86_400 / 1e9:.0f} GB |"
    )
    assert row in scale.document(MEASURED).splitlines()


def test_the_limit_of_a_scrape() -> None:
    """It lets a host of 50 VMs in, and all the series that they may have, but not every vCPU's."""
    limit = examples.scrape()["sample_limit"]
    measured = Benchmarks((DOCS / "benchmarks.md").read_text())
    host = measured.host(scale.VMS_PER_HOST)
    assert limit == scale.SAMPLE_LIMIT == 10_333
    assert host.own_series <= scale.HOST_SERIES
    assert host.series < scale.HOST_SERIES + scale.VMS_PER_HOST * 150 < limit
    by_vcpu = measured.per_vcpu[0].series_per_vm
    unserved = measured.by_metric["kvm_vm_unserved_events"]
    assert limit < host.own_series + scale.VMS_PER_HOST * (by_vcpu - unserved)
    said = f"{scale.HOST_SERIES} series of a host and 150 of each of its {scale.VMS_PER_HOST}"
    for text in (scale.document(MEASURED), (DOCS / "examples/prometheus-agent.yml").read_text()):
        assert said in text
        assert "a third more" in text
    assert f"`sample_limit` is {limit:,}" in scale.document(MEASURED)


def test_the_document_is_up_to_date() -> None:
    """With benchmarks.md, rules and examples; `python -m tests.bench.scale` makes it anew."""
    made = scale.document((DOCS / "benchmarks.md").read_text())
    assert (DOCS / "scale.md").read_text() == made
