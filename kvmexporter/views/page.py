# SPDX-License-Identifier: Apache-2.0
"""The page at `/`: a live overview for whoever has no Grafana.

The server draws it whole. The script only asks for it again and puts the new `main` in the
old one's place; without it, a reload does the same. Viewers share one drawing a second.
"""

import time
from collections.abc import Callable, Sequence
from html import escape

from kvmexporter import __version__
from kvmexporter.model.amounts import amount
from kvmexporter.sampler import Snapshot
from kvmexporter.views import activity, charts, facts, history, markup, quantities, report
from kvmexporter.views.activity import Activity
from kvmexporter.views.history import WINDOW_SECONDS, History
from kvmexporter.views.rates import series
from kvmexporter.views.report import Table
from kvmexporter.views.topics import Subject, Topic, subject, topic

_MOST_VMS = 50
_MOST_PATHS = 20
_SHARED_SECONDS = 0.9
_NO_RATES = "rates appear from the second look on"


class Page:
    """Draws the page, and remembers the last minute of what it draws as lines.

    Args:
        metrics_path: where the metrics are.
        monotonic: the clock, in seconds.
    """

    def __init__(self, metrics_path: str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._metrics_path = metrics_path
        self._monotonic = monotonic
        self._past = History()
        self._drawn: tuple[float, str] | None = None

    def recent(self) -> str | None:
        """The page as it was less than a second ago; None if nobody saw it then."""
        if self._drawn and self._monotonic() - self._drawn[0] < _SHARED_SECONDS:
            return self._drawn[1]
        return None

    def draw(self, snapshot: Snapshot) -> str:
        """The page with this snapshot."""
        self._past.observe(snapshot)
        drawn = render(snapshot, self._metrics_path, self._past)
        self._drawn = self._monotonic(), drawn
        return drawn


def render(snapshot: Snapshot, metrics_path: str, past: History) -> str:
    """The page.

    Args:
        snapshot: what to show.
        metrics_path: where the metrics are.
        past: the last minute, the snapshot included.
    """
    done = activity.activities(snapshot)
    when = time.strftime("%H:%M:%S UTC", time.gmtime(snapshot.time))
    main = "\n".join(
        (
            f'<p class="dim">{when}, {amount(len(snapshot.vms), "VM")}</p>',
            f"<h2>Findings</h2>\n{_findings(snapshot)}",
            f"<h2>VMs</h2>\n{_vms(snapshot, done, past)}",
            f"<h2>Hottest I/O paths</h2>\n{_paths(done, past)}",
            *_clocks(snapshot),
            f"<h2>Collectors</h2>\n{markup.collectors(snapshot.statuses)}",
        )
    )
    body = (
        f"<header><h1>kvmexporter {escape(__version__)}</h1>"
        f'<a href="{escape(metrics_path)}">Metrics</a>'
        '<span id="state" class="dim" role="status"></span></header>\n'
        f"<main>\n{main}\n</main>"
    )
    head = '<link rel="stylesheet" href="/page.css">\n<script src="/page.js" defer></script>'
    return markup.document("kvmexporter", head, body)


def _findings(snapshot: Snapshot) -> str:
    found = report.worst_first(snapshot.findings)
    return markup.findings(found) or "<p>Nothing to complain of.</p>"


def _vms(snapshot: Snapshot, done: list[Activity], past: History) -> str:
    if not done:
        return f"<p>{escape(activity.without_vms(snapshot))}</p>"
    ordered = sorted(
        done, key=lambda one: (-(past.latest(one.vm.name, history.EXITS) or 0), one.vm.name)
    )
    shown = ordered[:_MOST_VMS]
    rows = tuple(
        (
            one.vm.name,
            one.vm.vmm,
            "" if one.vm.vcpus is None else str(one.vm.vcpus),
            _rate(past, one, history.EXITS),
            _rate(past, one, history.IO),
            _rate(past, one, history.USERSPACE),
            one.io[0].name if one.io else "",
        )
        for one in shown
    )
    lines = Table(("VM", "VMM", "vCPU ", "exits/s ", "I/O/s ", "to VMM/s ", "most I/O ever"), rows)
    points = [past.points(one.vm.name, history.EXITS) for one in shown]
    notes = list(activity.notes(done))
    is_counted = not (done[0].uncounted.exits and done[0].uncounted.io)
    if is_counted and not past.seconds:
        notes.append(_NO_RATES)
    return "".join(
        (
            _graphs(lines, points, "exits/s"),
            _more(len(done) - len(shown), "VM"),
            *map(markup.note, notes),
        )
    )


def _paths(done: list[Activity], past: History) -> str:
    """The busiest now; before there are rates, ever."""
    found = sorted(
        ((one.vm.name, path) for one in done for path in one.io),
        key=lambda item: (-(_latest(past, *item) or 0), -item[1].total, item[0], item[1].name),
    )
    if not found:
        is_counted = not (done and done[0].uncounted.io)
        return "<p>None was seen.</p>" if is_counted else "<p>They are not counted.</p>"
    shown = found[:_MOST_PATHS]
    rows = tuple(
        (
            vm,
            path.name,
            path.path,
            _number(_latest(past, vm, path)),
            quantities.share(path.userspace, path.total),
            f"{path.total:,.0f}",
        )
        for vm, path in shown
    )
    lines = Table(("VM", "device", "path", "I/O/s ", "to VMM ", "ever "), rows)
    points = [past.points(*_key(vm, path)) for vm, path in shown]
    return _graphs(lines, points, "I/O/s") + _more(len(found) - len(shown), "path")


def _graphs(shown: Table, points: Sequence[charts.Points], what: str) -> str:
    return markup.table(
        shown, lambda row: charts.sparkline(points[row], WINDOW_SECONDS), f"{what}, last minute"
    )


def _clocks(snapshot: Snapshot) -> list[str]:
    """What is known of time here, as a host and as a guest."""
    parts = []
    values = series(snapshot)
    for whose, title in ((Subject.HOST, "The host's clock"), (Subject.GUEST, "This guest's clock")):
        families = [
            family
            for family in snapshot.families
            if subject(family.metric) is whose and topic(family.metric) is Topic.TIME
        ]
        lines = facts.facts(families, values, None)
        rows = tuple((line.what, line.of, line.value) for line in lines)
        if rows:
            parts.append(f"<h2>{title}</h2>\n{markup.table(Table(('', '', ''), rows))}")
    return parts


def _key(vm: str, path: activity.IoPath) -> tuple[str, ...]:
    return vm, history.IO, path.device, path.driver, path.path


def _latest(past: History, vm: str, path: activity.IoPath) -> float | None:
    return past.latest(*_key(vm, path))


def _rate(past: History, one: Activity, what: str) -> str:
    if one.uncounted.io if what == history.IO else one.uncounted.exits:
        return report.UNCOUNTED
    rate = past.latest(one.vm.name, what)
    is_least = rate and what == history.EXITS and one.is_least
    return f"{'≥' if is_least else ''}{_number(rate)}"


def _number(rate: float | None) -> str:
    return "" if rate is None else f"{rate:,.1f}"


def _more(count: int, what: str) -> str:
    return markup.note(f"and {amount(count, what)} more") if count > 0 else ""
