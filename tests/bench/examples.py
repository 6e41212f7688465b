# SPDX-License-Identifier: Apache-2.0
"""The example configuration of a large site, read: what it sends on, what its rules record, when.

`docs/scale.md` is reckoned from these files, so that it says what they do.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dashboards.generate import board as boards
from dashboards.generate.alerts import ALERTS
from dashboards.generate.boards import BOARDS
from dashboards.generate.panel import expanded
from dashboards.generate.queries import named
from kvmexporter.model.metrics import RARE_BELOW
from kvmexporter.registry import COLLECTORS
from tests.bench.fleet import VCPUS
from tests.bench.recording import linux_guest

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
AGENT = EXAMPLES / "prometheus-agent.yml"
SITE = EXAMPLES / "prometheus-site.yml"

_UNITS = {"s": 1, "m": 60, "h": 3600}
_TARGET = frozenset({"job", "instance"})
_INNER = frozenset({"le"})  # of what quantiles are taken of


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a recording rule makes.

    Attributes:
        record: its name.
        series: of one VM if it is of VMs, else of one host.
        of_vm: whether it is.
        interval_seconds: how often.
    """

    record: str
    series: int
    of_vm: bool
    interval_seconds: int


def configuration(path: Path) -> dict[str, Any]:
    """A file of the examples, or one that it names."""
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    return content


def seconds(duration: str) -> int:
    """Of a duration with a single unit, as Prometheus writes it."""
    return int(duration[:-1]) * _UNITS[duration[-1]]


def scrape() -> dict[str, Any]:
    """How the agent scrapes the exporters."""
    (job,) = configuration(AGENT)["scrape_configs"]
    return {"scrape_interval": configuration(AGENT)["global"]["scrape_interval"], **job}


def far() -> Sequence[Mapping[str, Any]]:
    """What a site's Prometheus does to series on their way to the far store."""
    (one,) = configuration(SITE)["remote_write"]
    relabelling: Sequence[Mapping[str, Any]] = one["write_relabel_configs"]
    return relabelling


def keeps(relabelling: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> bool:
    """Whether a series gets through a relabelling that keeps and drops."""
    for one in relabelling:
        value = ";".join(labels.get(name, "") for name in one["source_labels"])
        matches = re.fullmatch(one["regex"], value) is not None
        if matches != {"keep": True, "drop": False}[one["action"]]:
            return False
    return True


def recorded() -> list[Recorded]:
    """What the rules of a site record, each as if there were something to record.

    Of a VM without vhost or a clock that can be read there is less.
    """
    return [
        Recorded(
            rule["record"], _series(rule["expr"]), rule["record"].startswith("vm"),
            seconds(group["interval"]),
        )
        for path in rule_files()
        for group in configuration(path)["groups"]
        for rule in group["rules"]
        if "record" in rule
    ]  # fmt: skip


def rule_files() -> list[Path]:
    """The files of rules that a site's Prometheus evaluates."""
    return [(SITE.parent / name).resolve() for name in configuration(SITE)["rule_files"]]


def panels() -> dict[tuple[str, str], bool]:
    """Dashboard and title of each shipped panel that asks → whether recorded series answer it."""
    return {
        (board.uid, panel.title): all(_is_recorded(expanded(one.expr)) for one in panel.queries)
        for board in BOARDS
        for panel in boards.panels(board)
        if panel.queries
    }


def alerts() -> dict[str, bool]:
    """Each shipped alert → whether recorded series are enough for it."""
    return {alert.name: _is_recorded(alert.expr) for alert in ALERTS}


def _is_recorded(expr: str) -> bool:
    metrics = named(expr).metrics
    return bool(metrics) and all(keeps(far(), {"__name__": name}) for name in metrics)


def _series(expr: str) -> int:
    """Label values of the recorded guest by which an expression tells series apart."""
    found = named(expr)
    labels = found.grouped - _TARGET - _INNER
    told: dict[str, set[tuple[str, ...]]] = {}
    for name, values, _ in served():
        if name in found.metrics:
            told.setdefault(name, set()).add(
                tuple(values[label] for label in sorted(labels & values.keys()))
            )
    return max((len(each) for each in told.values()), default=1)


@functools.cache
def served() -> tuple[tuple[str, Mapping[str, str], float], ...]:
    """Series of a VM of the fleet (name, labels, value), by the recording; no distributions.

    Its vCPUs have done what those of the recorded guest did, and kinds that are rare are left out.
    """
    metrics = {metric.name: metric for kind in COLLECTORS for metric in kind.metrics}
    guest = linux_guest()
    times = VCPUS // len(guest.vcpus)
    return tuple(
        (name, labels, value)
        for name, labels, value in guest.series
        if name in metrics and (not metrics[name].rare or value * times >= RARE_BELOW)
    )
