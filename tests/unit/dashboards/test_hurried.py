# SPDX-License-Identifier: Apache-2.0
"""The shipped rules are changed for a test in a hurry as it is written, and in nothing else."""

import re
from collections.abc import Iterator

import pytest

from tests.dashboards.hurried import Hurry, shipped

ALERTS = "alerts/prometheus/alerts.rules.yml"
RECORDING = "alerts/prometheus/recording.rules.yml"
BOUND = re.compile(r"(?<=\) [<>] )[\d.e+-]+")


@pytest.mark.parametrize(
    ("promql", "expected"),
    [
        ("rate(x_total[5m])", "rate(x_total[10s])"),
        ("x offset 1h", "x offset 120s"),
        ("last_over_time(x[1d] offset 15m)", "last_over_time(x[2880s] offset 30s)"),
        ("deriv(x[10m])[30m:1m]", "deriv(x[20s])[60s:2s]"),
        ("a:x:rate5m > 5", "a:x:rate5m > 5"),
        ("5m", "10s"),
        (
            "unless on (job) resets(x_total[15m]) > 0",
            "unless on (job) resets(x_total[30s]) > 0",
        ),
        (
            "(max by (vm) (kvm_vm_balloon_short_seconds)) > 600",
            "(max by (vm) (kvm_vm_balloon_short_seconds)) > 20",
        ),
        ("(x_age_seconds) > 600", "(x_age_seconds) > 600"),
        ("10s", "1s"),
    ],
)
def test_windows_shrink(promql: str, expected: str) -> None:
    """And with them how long something must have lasted; names and other numbers do not."""
    assert Hurry(factor=30).promql(promql) == expected


def test_without_hurry_nothing_changes() -> None:
    """The rules are those that are shipped."""
    for name in (ALERTS, RECORDING):
        assert Hurry().rules(shipped(name)) == shipped(name)


def test_only_bounds_of_a_slow_machine_change() -> None:
    """Rates of exits are fifty times lower, the time of single operations as much longer."""
    changed = {}
    for name, expr, quick in pairs(Hurry(slowness=50)):
        before, after = BOUND.findall(expr), BOUND.findall(quick)
        assert BOUND.sub("", expr) == BOUND.sub("", quick)
        if before != after:
            assert before[1:] == after[1:]
            changed[name] = float(after[0]) / float(before[0])
    assert changed == pytest.approx(
        {
            "KvmVmExitStorm": 1 / 50,
            "KvmVmDeviceExitStorm": 1 / 50,
            "KvmVmUserspaceExitStorm": 1 / 50,
            "KvmVmInterruptStorm": 1 / 50,
            "KvmHostClockReadSlow": 50,
            "KvmVmExitHandlingSlow": 50,
            "KvmVmTimersLate": 50,
        }
    )


def test_a_slope_over_a_shorter_window_may_be_steeper() -> None:
    """By as much; the windows inside an alert shrink with those of recording rules."""
    (quick,) = (quick for name, _, quick in pairs(Hurry(factor=30)) if name == "KvmVmClockDrift")
    assert quick == "(abs(vm:kvm_vm_clock_drift:ratio30m)) > 0.003"


def pairs(hurry: Hurry) -> Iterator[tuple[str, str, str]]:
    """(name, shipped condition, hurried condition); all but condition and delays is the same."""
    whole = shipped(ALERTS)
    for group, other in zip(whole["groups"], hurry.rules(whole)["groups"], strict=True):
        for rule, quick in zip(group["rules"], other["rules"], strict=True):
            assert {**quick, "expr": "", "for": ""} == {**rule, "expr": "", "for": ""}
            yield rule["alert"], rule["expr"], quick["expr"]


def test_the_configuration_has_other_targets() -> None:
    """And is otherwise the shipped one, at shorter intervals, none below five seconds."""
    whole = shipped("prometheus.yml")
    quick = Hurry(factor=30).configuration(whole, {"a": "x:1", "b": "y:2"})
    assert quick.pop("global") == {"scrape_interval": "5s", "evaluation_interval": "5s"}
    assert whole.pop("global") == {"scrape_interval": "15s", "evaluation_interval": "15s"}
    (scrape,) = quick["scrape_configs"]
    assert scrape["static_configs"] == [
        {"targets": ["x:1"], "labels": {"instance": "a"}},
        {"targets": ["y:2"], "labels": {"instance": "b"}},
    ]
    assert {**scrape, "static_configs": 0} == {**whole["scrape_configs"][0], "static_configs": 0}
