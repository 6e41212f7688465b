# SPDX-License-Identifier: Apache-2.0
"""What a panel is, before it is drawn."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

# One series a VM: while it migrates, two hosts have it.
VM_LEGEND = "{{vm}} · {{instance}}"

# What `@host` and `@vm` in a panel's query stand for.
_SELECTORS = {
    "@host": 'job=~"$job", instance=~"$instance"',
    "@vm": 'job=~"$job", instance=~"$instance", vm=~"$vm"',
}

YES_NO: Mapping[str, tuple[str, str]] = {"0": ("no", "red"), "1": ("yes", "green")}
PRESENT: Mapping[str, tuple[str, str]] = {"1": ("in use", "blue")}


def expanded(expr: str) -> str:
    """A panel's query with the dashboard's variables in place."""
    for name, matchers in _SELECTORS.items():
        expr = expr.replace(name, matchers)
    return expr


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table that a query gives.

    Attributes:
        title: its heading.
        unit: Grafana's name of the unit.
        warn: coloured from here on.
        warn_below: whether it is the low values; the worst are then the lowest.
    """

    title: str
    unit: str = "short"
    warn: float | None = None
    warn_below: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """A query and what its series are called.

    Attributes:
        expr: PromQL; `@vm` and `@host` stand for the selection.
        legend: a template over labels.
        column: in a table, where its values go.
    """

    expr: str
    legend: str = ""
    column: Column | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One panel.

    Attributes:
        title: unique within its dashboard; the id is made of it.
        about: how to read it, and what to do.
        kind: how it is drawn.
        queries: what it shows.
        empty: what it says where there is no data.
        unit: Grafana's name of the unit; a ratio may be in ppm.
        width, height: in cells of the grid of 24.
        warn: where values become worth a look.
        warn_below: whether it is the low values.
        stacked: whether series are drawn on top of one another.
        texts: value → what is shown for it, and in which colour.
        hidden: labels that a table leaves out.
        link: dashboard that a table's rows open for their VM or host.
        sort: columns that a table is sorted by, worst first.
        centred: whether zero is in the middle of the axis.
        long_legend: whether it has too many names for a line or two below.
    """

    title: str
    about: str
    queries: tuple[Query, ...]
    empty: str
    kind: Literal["timeseries", "stat", "table", "heatmap", "state"] = "timeseries"
    unit: str = "short"
    width: int = 12
    height: int = 8
    warn: float | None = None
    warn_below: bool = False
    stacked: bool = False
    texts: Mapping[str, tuple[str, str]] | None = None
    hidden: tuple[str, ...] = ()
    link: str = ""
    sort: tuple[str, ...] = ()
    centred: bool = False
    long_legend: bool = False


@dataclass(frozen=True, slots=True)
class Section:
    """Panels under a heading; the first of a dashboard has none and is always open."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One dashboard.

    Attributes:
        uid: in URLs.
        title: its name.
        about: what it is for.
        variables: which of those in `variables.py`, in order.
        sections: the first is seen at first sight, the others are folded.
    """

    uid: str
    title: str
    about: str
    variables: tuple[str, ...]
    sections: tuple[Section, ...]
