# SPDX-License-Identifier: Apache-2.0
"""A dashboard's JSON: variables, links, annotations, and panels in their places."""

import json
import zlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as d

from dashboards.generate.draw import DATASOURCE, draw
from dashboards.generate.panel import Board, Panel, expanded

GRID: Final = 24
TAG: Final = "kvmexporter"

# name → (label, query, description)
VARIABLES: Final[Mapping[str, tuple[str, str, str]]] = {
    "job": ("Cluster", "label_values(kvmexporter_build_info, job)", "Prometheus job"),
    "instance": (
        "Instance",
        'label_values(kvmexporter_build_info{job=~"$job"}, instance)',
        "Exporters: hosts, and guests that run one",
    ),
    "vm": (
        "VM",
        'label_values(kvm_vm_info{job=~"$job", instance=~"$instance"}, vm)',
        "VMs on the chosen hosts",
    ),
    "path": (
        "I/O path",
        f"label_values(kvm_vm_io_exits_total{{{expanded('@vm')}}}, path)",
        "How an access is served: emulated, virtio, vhost, irqchip, passthrough, platform",
    ),
    "class": (
        "Exit class",
        f"label_values(kvm_vm_exits_total{{{expanded('@vm')}}}, class)",
        "Kind of exit",
    ),
}


def _grown(counter: str) -> str:
    """Where a counter without a zero was born or grew within the minute."""
    return f"({counter} unless {counter} offset 1m) or ({counter} - {counter} offset 1m > 0)"


# name → (query, what is said, colour). Each marks the moment, not the time since.
ANNOTATIONS: Final[Mapping[str, tuple[str, str, str]]] = {
    "Clocksource changes": (
        _grown("kvm_host_clocksource_changes_total{@host}")
        + " or "
        + _grown("kvm_guest_clocksource_changes_total{@host}"),
        "{{instance}}: {{from}} → {{to}}",
        "red",
    ),
    "Master clock changes": (
        "kvm_vm_master_clock_changes_total{@vm} - "
        "kvm_vm_master_clock_changes_total{@vm} offset 1m > 0",
        "{{vm}} on {{instance}}",
        "orange",
    ),
    "VM starts": (
        "(kvm_vm_info{@vm} unless on (job, instance, vm, pid) kvm_vm_info{@vm} offset 1m) "
        "and on (job, instance) kvmexporter_build_info{@host} offset 1m",
        "{{vm}} on {{instance}}",
        "blue",
    ),
    "Migrations": (
        # Of all hosts: one alone, as a link from Fleet chooses it, would see one of the two.
        "count by (uuid, vm) (count by (uuid, vm, instance) (last_over_time("
        'kvm_vm_info{job=~"$job", vm=~"$vm", uuid!=""}[5m]))) > 1',
        "{{vm}} was on two hosts",
        "purple",
    ),
    "Counter disruptions": (
        "kvm_guest_vmclock_disruptions_total{@host} - "
        "kvm_guest_vmclock_disruptions_total{@host} offset 1m > 0",
        "{{instance}} was migrated or restored",
        "purple",
    ),
}


def panel_id(board: str, title: str) -> int:
    """Stable for as long as the title is, wherever the panel stands."""
    return 1 + zlib.crc32(f"{board}/{title}".encode()) % 1_000_000


def panels(board: Board) -> Iterable[Panel]:
    """All panels, folded ones too."""
    return (panel for section in board.sections for panel in section.panels)


def lines(panels: Iterable[Panel]) -> list[list[Panel]]:
    """Panels from left to right, a new line when one is full."""
    result: list[list[Panel]] = [[]]
    used = 0
    for panel in panels:
        if used + panel.width > GRID:
            result.append([])
            used = 0
        result[-1].append(panel)
        used += panel.width
    return result


def render(board: Board) -> str:
    """The dashboard as Grafana reads it."""
    builder = (
        dashboard.Dashboard(board.title)
        .uid(board.uid)
        .description(board.about)
        .tags([TAG])
        .timezone("browser")
        .time("now-3h", "now")
        .refresh("1m")
        .readonly()
        .tooltip(d.DashboardCursorSync.CROSSHAIR)
        .link(
            dashboard.DashboardLink("KVM dashboards")
            .type(d.DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(
            dashboard.DatasourceVariable("datasource")
            .label("Data source")
            .type("prometheus")
            .description("A Prometheus that scrapes kvmexporter")
        )
    )
    for name in board.variables:
        builder = builder.with_variable(_variable(name))
    for name, (expr, _, colour) in ANNOTATIONS.items():
        builder = builder.annotation(
            dashboard.AnnotationQuery()
            .name(name)
            .datasource(DATASOURCE)
            .icon_color(colour)
            .enable(True)
            .expr(expanded(expr))
        )
    builder = _place(builder, board)
    document: dict[str, Any] = json.loads(json.dumps(builder.build(), cls=JSONEncoder))
    for annotation in document["annotations"]["list"]:
        # The SDK does not know what Prometheus's data source reads besides.
        text = ANNOTATIONS[annotation["name"]][1]
        annotation |= {"titleFormat": annotation["name"], "textFormat": text, "step": "30s"}
    return json.dumps(document, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def _variable(name: str) -> dashboard.QueryVariable:
    label, query, description = VARIABLES[name]
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .description(description)
        .query({"query": query, "refId": name})
        .datasource(DATASOURCE)
        .refresh(d.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(d.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(d.VariableOption(text="All", value="$__all"))
    )


def _place(builder: dashboard.Dashboard, board: Board) -> dashboard.Dashboard:
    y = 0
    for i, section in enumerate(board.sections):
        row = None
        if i:
            row = dashboard.Row(section.title).collapsed(True)
            row = row.id(panel_id(board.uid, f"row/{section.title}"))
            row = row.grid_pos(d.GridPos(h=1, w=GRID, x=0, y=y))
            y += 1
        inside = y
        for line in lines(section.panels):
            x = 0
            for panel in line:
                position = d.GridPos(h=panel.height, w=panel.width, x=x, y=inside)
                drawn = draw(panel, panel_id(board.uid, panel.title), position)
                if row:
                    row = row.with_panel(drawn)
                else:
                    builder = builder.with_panel(drawn)
                x += panel.width
            inside += line[0].height
        if row:
            builder = builder.with_row(row)
        else:
            y = inside
    return builder
