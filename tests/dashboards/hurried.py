# SPDX-License-Identifier: Apache-2.0
"""The shipped rules and queries for a test that has minutes, on a machine that is emulated.

A mechanical change of the files that are shipped, never rules of a test's own. Of every rule

- windows, offsets and delays become `factor` times shorter, and so do the numbers that say how long
  something must have lasted (`_AGES`); intervals, too, but not below five seconds;
- the bounds of alerts on rates of exits become `slowness` times smaller, and those on the time
  that a single operation takes as much larger: the same work on a slower processor;
- the bound of a slope over such a window becomes `factor` times larger, since what blurs its two
  ends stays as it is.

Names, selectors, groupings, all other numbers, labels and texts stay.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from dashboards.generate.alert import Alert
from dashboards.generate.alerts import ALERTS

SHIPPED: Final = Path(__file__).parents[2] / "dashboards"

_WINDOW = re.compile(r"(?<=[\[ :])(\d+)([smhd])(?=[\]: )]|$)")
_AGES = re.compile(r"(kvm_vm_balloon_short_seconds\)* > )(\d+)")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# A scrape must not take longer than until the next.
_LEAST_SECONDS: Final = 5
_RATES: Final = frozenset(
    {
        "KvmVmExitStorm",
        "KvmVmDeviceExitStorm",
        "KvmVmUserspaceExitStorm",
        "KvmVmInterruptStorm",
    }
)
_OPERATIONS: Final = frozenset({"KvmHostClockReadSlow", "KvmVmExitHandlingSlow", "KvmVmTimersLate"})
_SLOPES: Final = frozenset({"KvmVmClockDrift"})


@dataclass(frozen=True, slots=True)
class Hurry:
    """How much faster than in production time goes by.

    Attributes:
        factor: by which windows and delays are shorter.
        slowness: by which the machine is slower than a processor of these days.
    """

    factor: float = 1
    slowness: float = 1

    def promql(self, expr: str) -> str:
        """A query, or a bare duration."""
        if self.factor == 1:
            return expr

        def shorter(found: re.Match[str]) -> str:
            return f"{max(1, round(int(found[1]) * _SECONDS[found[2]] / self.factor))}s"

        def sooner(found: re.Match[str]) -> str:
            return f"{found[1]}{round(int(found[2]) / self.factor)}"

        return _WINDOW.sub(shorter, _AGES.sub(sooner, f" {expr}"))[1:]

    def rules(self, shipped: Mapping[str, Any]) -> dict[str, Any]:
        """A file of rules."""
        return {"groups": [self._group(group) for group in shipped["groups"]]}

    def _group(self, group: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **group,
            "interval": self._interval(group["interval"]),
            "rules": [self._rule(rule) for rule in group["rules"]],
        }

    def _interval(self, duration: str) -> str:
        seconds = int(duration.removesuffix("s"))
        return f"{max(min(seconds, _LEAST_SECONDS), round(seconds / self.factor))}s"

    def _rule(self, rule: Mapping[str, Any]) -> dict[str, Any]:
        if "alert" not in rule:
            return {**rule, "expr": self.promql(rule["expr"])}
        expr = self._bounded(rule["alert"], rule["expr"])
        # A delay of none stays none.
        hold = rule["for"] if rule["for"] == "0s" else self.promql(rule["for"])
        return {**rule, "expr": self.promql(expr), "for": hold}

    def _bounded(self, name: str, expr: str) -> str:
        times = 1.0
        if name in _RATES:
            times = 1 / self.slowness
        elif name in _OPERATIONS:
            times = self.slowness
        elif name in _SLOPES:
            times = self.factor
        if times == 1:
            return expr
        (alert,) = (one for one in ALERTS if one.name == name)
        before, after = _condition(alert, 1), _condition(alert, times)
        if expr.count(before) != 1:
            raise ValueError(f"{name}: {before!r} is not in {expr!r}")
        return expr.replace(before, after)

    def configuration(
        self, shipped: Mapping[str, Any], targets: Mapping[str, str]
    ) -> dict[str, Any]:
        """Prometheus's configuration, with other targets, each instance → host:port."""
        times = {key: self._interval(value) for key, value in shipped["global"].items()}
        (scrape,) = shipped["scrape_configs"]
        static = [
            {"targets": [address], "labels": {"instance": instance}}
            for instance, address in targets.items()
        ]
        scrape = {**scrape, "static_configs": static}
        return {**shipped, "global": times, "scrape_configs": [scrape]}


def _condition(alert: Alert, times: float) -> str:
    sign = ">" if alert.above is not None else "<"
    return f") {sign} {alert.threshold * times:.12g}"


def shipped(name: str) -> dict[str, Any]:
    """A file of rules or configuration, as it is shipped."""
    document: dict[str, Any] = yaml.safe_load((SHIPPED / name).read_text("utf-8"))
    return document
