# SPDX-License-Identifier: Apache-2.0
"""What dashboards' queries answer about fleets that are made up, each of one trouble."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from dashboards.generate.alerts import ALERTS
from dashboards.generate.board import ANNOTATIONS, panels
from dashboards.generate.boards import BOARDS, find
from dashboards.generate.panel import expanded
from dashboards.generate.rules import dump
from tests.dashboards.asked import substituted

Series = Mapping[str, str]
Answers = Mapping[str, float]

HOSTS = {
    f'kvm_host_clock_synchronized{{job="j", instance="{host}"}}': value
    for host, value in (("a", "1x20"), ("b", "0x20"), ("down", "1x5 _x15"))
}
VMS = {
    f'kvm_vm_vcpus{{job="j", instance="{host}", vm="{vm}"}}': "2x20"
    for host, vm in (("a", "db"), ("b", "web"))
}


def alert(state: str, values: str = "1x20", **labels: str) -> Series:
    """An alert as Prometheus records it."""
    labels = {"alertname": "KvmX", "alertstate": state, "job": "j", **labels}
    return {"ALERTS{" + ", ".join(f'{name}="{one}"' for name, one in labels.items()) + "}": values}


def column(board: str, title: str, heading: str) -> str:
    """The query of a table's column."""
    (query,) = (
        one for one in find(board, title).queries if one.column and one.column.title == heading
    )
    return query.expr


def check(directory: Path, series: Series, expr: str, expected: Answers, **chosen: str) -> None:
    """Ask after a quarter of an hour, with everything chosen but for what is said."""
    asked = expanded(expr)
    for name, value in chosen.items():
        asked = asked.replace(f"${name}", value)
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": substituted(asked, "5m"),
                "eval_time": "15m",
                "exp_samples": [
                    {"labels": labels, "value": value} for labels, value in expected.items()
                ],
            }
        ],
    }
    file = directory / "answers.yml"
    file.write_text(dump({"tests": [test]}))
    done = subprocess.run(
        ["promtool", "test", "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("series", "expected"),
    [
        ({}, {}),
        (alert("pending", instance="a"), {"{}": 0}),
        # It was over ten minutes ago.
        (alert("firing", "1x5 _x15", instance="a"), {"{}": 0}),
        (alert("firing", instance="a"), {"{}": 1}),
        ({**alert("firing", instance="a"), **alert("firing", instance="b", vm="web")}, {"{}": 2}),
    ],
    ids=["nothing is known", "one may fire", "one has fired", "one fires", "two fire"],
)
def test_alerts_are_counted_where_prometheus_has_them(
    tmp_path: Path, series: Series, expected: Answers
) -> None:
    """None that fires is 0 only where it is known that one would."""
    (query,) = find("kvmexporter-fleet", "Alerts firing").queries
    check(tmp_path, series, query.expr, expected)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({}, 3),
        ({"instance": "a"}, 2),
        # Its own, and those of no VM.
        ({"vm": "db"}, 2),
        ({"job": "other"}, 0),
    ],
)
def test_alerts_are_counted_by_selection(
    tmp_path: Path, chosen: Mapping[str, str], expected: float
) -> None:
    """Of the chosen cluster, instances and VMs."""
    series = {
        **alert("firing", instance="a"),
        **alert("firing", instance="a", vm="db"),
        **alert("firing", instance="b", vm="web"),
    }
    (query,) = find("kvmexporter-fleet", "Alerts firing").queries
    check(tmp_path, series, query.expr, {"{}": expected}, **chosen)


def test_a_host_that_is_down_has_its_alerts(tmp_path: Path) -> None:
    """And one without any has none, as far as Prometheus would know; a guest is no host."""
    expr = column("kvmexporter-fleet", "Hosts", "Alerts firing")
    series = {
        **HOSTS,
        **alert("firing", instance="down"),
        **alert("firing", instance="b"),
        **alert("firing", instance="b", vm="web"),
        **alert("firing", instance="guest"),
    }
    expected = {
        '{instance="a", job="j"}': 0.0,
        '{instance="b", job="j"}': 2.0,
        '{instance="down", job="j"}': 1.0,
    }
    check(tmp_path, series, expr, expected)
    check(tmp_path, HOSTS, expr, {})


def test_a_vm_has_its_own_alerts(tmp_path: Path) -> None:
    """Not its host's."""
    expr = column("kvmexporter-fleet", "VMs, worst first", "Alerts firing")
    series = {**VMS, **alert("firing", instance="a"), **alert("firing", instance="b", vm="web")}
    expected = {
        '{instance="a", job="j", vm="db"}': 0.0,
        '{instance="b", job="j", vm="web"}': 1.0,
    }
    check(tmp_path, series, expr, expected)
    check(tmp_path, VMS, expr, {})


@pytest.mark.parametrize(
    ("title", "metric", "label", "bad"),
    [
        ("Collectors", "kvmexporter_collector_success", "collector", 0.0),
        ("Probes", "kvmexporter_bpf_attached", "tracepoint", 1.0),
    ],
)
def test_what_fails_is_named_with_its_host(
    tmp_path: Path, title: str, metric: str, label: str, bad: float
) -> None:
    """Each host in a word, and each thing that fails there."""
    series = {
        f'{metric}{{job="j", instance="{host}", {label}="{what}"}}': value
        for host, what, value in (
            *(("a", "x", "1x20"), ("a", "y", "1x20")),
            *(("b", "x", "1x20"), ("b", "y", "0x20")),
        )
    }
    expected = {
        '{instance="a", job="j"}': 1 - bad,
        '{instance="b", job="j"}': bad,
        f'{{{label}="y", instance="b", job="j"}}': bad,
    }
    (query,) = find("kvmexporter-health", title).queries
    check(tmp_path, series, query.expr, expected)


def test_emulated_devices_are_those_of_the_chosen_vms(tmp_path: Path) -> None:
    """As their alert judges them: emulated, by the VMM, where virtio would do."""
    (alert,) = (one for one in ALERTS if one.name == "KvmVmEmulatedDeviceInUse")
    panel = find("kvmexporter-exits", "Emulated devices")
    (query,) = panel.queries
    assert alert.value in query.expr
    assert panel.warn == alert.threshold
    exits = (
        ("a", "db", "e1000", "emulated", "userspace"),
        ("a", "db", "virtio-net-pci", "virtio", "userspace"),
        ("a", "db", "ich9-ahci", "emulated", "kernel"),
        ("b", "web", "e1000", "emulated", "userspace"),
    )
    series = {
        f'kvm_vm_io_exits_total{{job="j", instance="{host}", vm="{vm}", device="{driver}0", '
        f'driver="{driver}", path="{path}", handler="{handler}"}}': "0+480x20"
        for host, vm, driver, path, handler in exits
    }
    expected = {
        f'{{job="j", instance="{host}", vm="{vm}", device="e10000", driver="e1000"}}': 8.0
        for host, vm in (("a", "db"), ("b", "web"))
    }
    check(tmp_path, {**VMS, **series}, query.expr, expected)
    expected.popitem()
    check(tmp_path, {**VMS, **series}, query.expr, expected, vm="db")


def test_faults_are_counted_once(tmp_path: Path) -> None:
    """Those that were fixed are a part of those that were taken."""
    query, _ = find("kvmexporter-memory", "Second-level page faults").queries
    series = {
        f'kvm_vm_kvm_stat_total{{job="j", instance="a", vm="db", stat="{stat}"}}': f"0+{slope}x20"
        for stat, slope in (("pf_taken", 480), ("pf_fixed", 240), ("pf_fast", 960))
    }
    expected = {
        f'{{job="j", instance="a", vm="db", stat="{stat}"}}': rate
        for stat, rate in (("pf_taken", 8.0), ("pf_fixed", 4.0))
    }
    check(tmp_path, series, query.expr, expected)


def test_what_is_of_one_vcpu_is_not_among_sums() -> None:
    """A bound for one does not hold for all."""
    for board in BOARDS:
        for panel in panels(board):
            of_one = ["_per_vcpu:" in query.expr for query in panel.queries]
            assert panel.kind == "table" or all(of_one) or not any(of_one), panel.title


@pytest.mark.parametrize("chosen", [{}, {"instance": "a"}, {"instance": "a", "vm": "db"}])
def test_a_migration_is_marked(tmp_path: Path, chosen: Mapping[str, str]) -> None:
    """On both hosts, and for a few minutes; two VMs of one name are none."""
    series = {
        'kvm_vm_info{job="j", instance="a", vm="db", uuid="1"}': "1x12 _x10",
        'kvm_vm_info{job="j", instance="b", vm="db", uuid="1"}': "_x13 1x10",
        'kvm_vm_info{job="j", instance="c", vm="db", uuid="2"}': "1x20",
    }
    expr, _, _ = ANNOTATIONS["Migrations"]
    check(tmp_path, series, expr, {'{uuid="1", vm="db"}': 2.0}, **chosen)
    check(tmp_path, series, expr, {}, vm="web")
