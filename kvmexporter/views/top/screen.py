# SPDX-License-Identifier: Apache-2.0
"""The live view as lines that fit a terminal of any size. Pure."""

import io
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from kvmexporter.model.amounts import amount
from kvmexporter.sampler import Snapshot
from kvmexporter.views import activity, facts, history, quantities, report, text
from kvmexporter.views.activity import Activity
from kvmexporter.views.history import WINDOW_SECONDS, History
from kvmexporter.views.rates import series
from kvmexporter.views.report import Table
from kvmexporter.views.top.state import HELP, State, listed, place

_BARS = " ▁▂▃▄▅▆▇█"
_LEAST_NAME, _MOST_NAME = 14, 40
_LEAST_LINE, _MOST_LINE = 12, 60
_WIDE = 120
_HEAD = 4
_FOOT = 1
_KEYS = "Enter look  s sort  / filter  p pause  h help  q quit"
_KEYS_OPEN = "Esc back  up down scroll  v by vCPU  p pause  h help  q quit"


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is to show.

    Attributes:
        snapshot: the latest.
        done: each VM's activity since the one before.
        past: the last minute.
        interval: seconds between two samples.
    """

    snapshot: Snapshot
    done: Sequence[Activity]
    past: History
    interval: float


def page(height: int) -> int:
    """Lines of a list or of a VM that fit."""
    return max(height - _HEAD - _FOOT, 1)


def draw(state: State, seen: Seen, width: int, height: int) -> tuple[list[Text], State]:
    """The screen, as many lines as it is high, and the state scrolled no further than there is."""
    if state.is_helping:
        body = _help(width)
    elif state.opened:
        body, state = _vm(state, seen, width, page(height))
    else:
        body = _vms(state, seen, width, page(height))
    lines = [_title(state, seen), clock(seen.snapshot), _findings(seen), *body]
    lines = lines[: height - _FOOT]
    lines += [Text()] * (height - _FOOT - len(lines))
    lines.append(_foot(state))
    return [_cropped(line, width) for line in lines], state


def _title(state: State, seen: Seen) -> Text:
    when = time.strftime("%H:%M:%S", time.localtime(seen.snapshot.time))
    line = Text(f"kvmexporter top  {when}  {amount(len(seen.done), 'VM')}", style="bold")
    if seen.done and not seen.done[0].uncounted.exits:
        exits = quantities.short(sum(one.all_exits / (one.seconds or 1) for one in seen.done))
        least = "≥" if any(one.is_least for one in seen.done) else ""
        line.append(f"  {least}{exits} exits/s")
    line.append(f"  every {seen.interval:g} s")
    if state.is_paused:
        line.append("  PAUSED", style="reverse")
    return line


def clock(snapshot: Snapshot) -> Text:
    """The state of the host's clock in a line; of this guest's where this is no host."""
    values = {family.metric.name: family for family in snapshot.families}
    for whose in ("host", "guest"):
        source = values.get(f"kvm_{whose}_clocksource_info")
        if source is None:
            continue
        current = [one.labels[0] for one in source.samples if one.labels[1] == "current"]
        line = Text(f"{whose} clock: {', '.join(current)}")
        synchronized = values.get(f"kvm_{whose}_clock_synchronized")
        if synchronized:
            is_so = bool(synchronized.samples[0].value)
            line.append(
                ", synchronised" if is_so else ", NOT SYNCHRONISED",
                style="green" if is_so else "bold red",
            )
        for name, word in (("offset", "offset"), ("max_error", "off by at most")):
            family = values.get(f"kvm_{whose}_clock_{name}_seconds")
            value = family.samples[0].value if family else None
            if isinstance(value, int | float):
                line.append(f", {word} {quantities.duration(value)}")
        steps = values.get(f"kvm_{whose}_clock_steps_total")
        times = steps.samples[0].value if steps else None
        if isinstance(times, int | float) and times:
            line.append(f", set {amount(times, 'time')}", style="bold red")
        return line
    return Text("clock: unknown, no collector of it runs")


def _findings(seen: Seen) -> Text:
    found = report.worst_first(seen.snapshot.findings)
    if not found:
        return Text("findings: none", style="dim")
    worst = found[0]
    about = f" VM {worst.vm}" if worst.vm else ""
    return Text(f"findings: {len(found)}, worst: {worst.severity} {worst.rule}{about}")


def _vms(state: State, seen: Seen, width: int, height: int) -> list[Text]:
    shown = listed(state, seen.done)
    columns = _columns(shown, width)
    head = Text(_row(columns, _headings(state)), style="reverse")
    if not shown:
        what = activity.without_vms(seen.snapshot)
        if state.filter:
            what = f"no VM's name contains {state.filter!r}"
        return [head, *map(Text, textwrap.wrap(what, width))]
    below = notes(shown, width)
    height = max(height - len(below), 1)
    at = place(state, shown)
    first = max(0, min(at - height // 2, len(shown) - height))
    lines = [head]
    for i, one in enumerate(shown[first : first + height], first):
        cells = [
            one.vm.name,
            "" if one.vm.vcpus is None else str(one.vm.vcpus),
            report.exits(one),
            report.accesses(one),
            report.to_vmm(one),
            report.used(one, activity.CPU),
            report.used(one, activity.RUN_DELAY),
            spark(seen.past.points(one.vm.name, history.EXITS), columns[7]),
            one.io[0].name if one.io else "",
        ]
        lines.append(Text(_row(columns, cells), style="bold cyan" if i == at else ""))
    return lines + [Text(line, style="dim") for line in below]


def notes(done: Sequence[Activity], width: int) -> list[str]:
    """What to know of the numbers, in lines that fit."""
    return [line for note in activity.notes(done) for line in textwrap.wrap(note, width)]


def _headings(state: State) -> list[str]:
    arrow = "▲" if state.is_reversed != (state.sort == "name") else "▼"
    names = {
        "name": "VM", "": "vCPU", "exits": "exits/s", "I/O": "I/O/s", "to VMM": "VMM/s",
        "CPU": "CPU", "waited": "wait",
    }  # fmt: skip
    words = [f"{arrow}{word}" if sort == state.sort else word for sort, word in names.items()]
    return [*words, "last minute", "hottest path"]


def _columns(shown: Sequence[Activity], width: int) -> tuple[int, ...]:
    """Widths; negative: to the right. Narrow screens have no column of paths."""
    numbers = (-5, -10, -8, -8, -5, -5)
    left = width - sum(1 - number for number in numbers) - 1
    longest = max((cell_len(one.vm.name) for one in shown), default=0)
    name = min(max(longest, _LEAST_NAME), _MOST_NAME, max(left - _LEAST_LINE, _LEAST_NAME))
    line = max(min(left - name - (32 if width >= _WIDE else 0), _MOST_LINE), _LEAST_LINE)
    return (name, *numbers, line, max(left - name - line - 1, 0))


def _row(columns: Sequence[int], cells: Sequence[str]) -> str:
    parts = []
    for column, cell in zip(columns, cells, strict=True):
        missing = abs(column) - cell_len(cell)
        if column < 0 and missing > 0:
            parts.append(" " * missing + cell)
        else:
            parts.append(_fit(cell, abs(column)))
    return " ".join(parts)


def _fit(cell: str, size: int) -> str:
    if cell_len(cell) > size > 0:
        return set_cell_size(cell, size - 1) + "…"
    return set_cell_size(cell, size)


def spark(points: Sequence[tuple[float, float]], width: int) -> str:
    """A minute of a rate as characters, now at the right; blank where nothing is known."""
    columns: list[float | None] = [None] * width
    for age, rate in points:
        column = width - 1 - int(age / WINDOW_SECONDS * width)
        if column >= 0:
            columns[column] = max(rate, columns[column] or 0.0)
    # Points may be rarer than columns: each lasts until the next.
    for column in range(1, width):
        if columns[column] is None:
            columns[column] = columns[column - 1]
    top = max((rate for rate in columns if rate), default=0.0)
    steps = len(_BARS) - 2
    return "".join(
        " " if rate is None else _BARS[1 + round(rate / top * steps)] if top else _BARS[1]
        for rate in columns
    )


def _vm(state: State, seen: Seen, width: int, height: int) -> tuple[list[Text], State]:
    one = next((one for one in seen.done if one.vm.name == state.opened), None)
    if one is None:
        head = Text(_row((width,), [state.opened]), style="reverse")
        return [head, Text("this VM has ended")], state
    about = f"{one.vm.name}  pid {one.vm.id.pid}  {report.exits(one)} exits/s  "
    line = spark(
        seen.past.points(one.vm.name, history.EXITS),
        max(min(width - cell_len(about), _MOST_LINE), 1),
    )
    body = _details(one, state, seen, width)
    last = max(len(body) - height, 0)
    start = min(state.scroll, last)
    shown = body[start : start + height]
    if start < last:
        below = amount(len(body) - start - height + 1, "line")
        shown[-1:] = [Text(f"… {below} more", style="dim")]
    head = Text(_row((width,), [about + line]), style="reverse")
    return [head, *shown], replace(state, scroll=start)


def _details(one: Activity, state: State, seen: Seen, width: int) -> list[Text]:
    """Devices and paths, reasons, then everything else that is known of the VM."""
    exits, vcpus, *others = report.exit_tables(one)
    paths, queues = report.io_tables(one)
    tables = [paths, vcpus if state.by_vcpu else exits, *others, queues]
    lines = [Text(line, style="dim") for line in notes([one], width)]
    for table in tables:
        lines += table_lines(table, width)
    families = report.of_vm(seen.snapshot, one.vm.name)
    known = facts.facts(families, series(seen.snapshot), None, one.vm.name)
    rows = tuple((line.what, line.of, line.value) for line in known)
    return lines + table_lines(Table(("since it was first seen", "", ""), rows), width)


def table_lines(table: Table, width: int) -> list[Text]:
    """A table and an empty line; nothing if it is empty."""
    if not table.rows:
        return []
    out = Console(file=io.StringIO(), width=width, color_system=None, highlight=False)
    with out.capture() as captured:
        text.print_table(out, report.without_empty_columns(table), 0)
    return [Text(line.rstrip()) for line in captured.get().splitlines()]


def _help(width: int) -> list[Text]:
    rows = tuple(HELP)
    return [
        Text(_row((width,), ["Keys"]), style="reverse"),
        *table_lines(Table(("", ""), rows), width),
    ]


def _foot(state: State) -> Text:
    if state.is_filtering:
        return Text(f"filter: {state.filter}_")
    if state.is_helping:
        return Text("any key goes back", style="dim")
    keys = _KEYS_OPEN if state.opened else _KEYS
    filtered = f"  filter: {state.filter}" if state.filter and not state.opened else ""
    return Text(keys + filtered, style="dim")


def _cropped(line: Text, width: int) -> Text:
    line = line.copy()
    line.truncate(width, overflow="crop")
    line.no_wrap = True
    return line
