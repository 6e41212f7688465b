# SPDX-License-Identifier: Apache-2.0
"""`docs/metrics.md` names every metric with its cost."""

import pytest

from dashboards.generate import metrics_reference
from kvmexporter.model.metrics import Kind, Metric
from kvmexporter.registry import COLLECTORS


def test_every_metric_is_in_it_once() -> None:
    """A row each, under its collector."""
    text = metrics_reference.render()
    for kind in COLLECTORS:
        section = text.partition(f"\n## {kind.name}\n")[2].partition("\n## ")[0]
        assert f"collector.{kind.name}`" in section
        for metric in kind.metrics:
            assert section.count(f"\n| `{metric.name}` |") == 1
            assert metric.help.replace("|", "\\|") in section


@pytest.mark.parametrize(
    ("metric", "unit", "series"),
    [
        (Metric("kvm_vm_x_seconds_total", Kind.COUNTER, "", ("vm",)), "seconds", "1"),
        (Metric("kvm_vm_x_total", Kind.COUNTER, "", ("vm", "a")), "events", "1 per a"),
        (Metric("kvm_vm_x_seconds", Kind.HISTOGRAM, "", ("vm", "a")), "seconds", "7 per a"),
        (Metric("kvm_vm_x_info", Kind.INFO, "", ("vm", "a")), "always 1", "1"),
        (Metric("kvm_vm_x_info", Kind.INFO, "", ("vm", "device")), "always 1", "1 per device"),
        (Metric("kvm_vm_x", Kind.GAUGE, ""), "", "1"),
    ],
)
def test_what_a_metric_costs(metric: Metric, unit: str, series: str) -> None:
    """In words that hold for a VM of any size."""
    assert (metrics_reference.unit(metric), metrics_reference.series(metric)) == (unit, series)
