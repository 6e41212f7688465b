# SPDX-License-Identifier: Apache-2.0
"""Panels with Grafana's own builders."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final, TypeAlias

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models import common as c
from grafana_foundation_sdk.models import dashboard as d
from grafana_foundation_sdk.models import heatmap as h
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from dashboards.generate.panel import Panel, Query, expanded
from dashboards.generate.queries import named
from kvmexporter.registry import COLLECTORS

DATASOURCE = d.DataSourceRef(type_val="prometheus", uid="${datasource}")

Builder: TypeAlias = (
    timeseries.Panel | stat.Panel | table.Panel | heatmap.Panel | statetimeline.Panel
)

_FIRST: Final = ("severity", "alertname", "rule", "vm", "device", "instance")

# Counts of which each matters: their axis is not to end at 100 where there are none.
_FEW: Final = 10

# Units that Grafana has for what is a ratio here, and does not convert it to.
_PER_ONE: Final[Mapping[str, float]] = {"ppm": 1e6}

# Labels whose values are long or short, and how wide their columns are, in pixels.
_WIDTHS: Final[Mapping[str, int]] = {"alertname": 250, "rule": 250, "severity": 90}
_LEAST_WIDTH: Final = 80

# What a link on a label carries of its row.
_LINKED: Final[Mapping[str, tuple[str, ...]]] = {
    "vm": ("job", "instance", "vm"),
    "instance": ("job", "instance"),
}

_GOOD, _BAD, _NEUTRAL = "green", "red", "text"


def draw(panel: Panel, identity: int, position: d.GridPos) -> Builder:
    """A panel at its place."""
    panel = _converted(panel)
    builder = (
        _KINDS[panel.kind](panel)
        .id(identity)
        .title(panel.title)
        .description(panel.about)
        .datasource(DATASOURCE)
        .grid_pos(position)
        .no_value(panel.empty)
        .unit(panel.unit)
    )
    if panel.texts:
        builder = builder.mappings([_mapping(panel)])
    for i, query in enumerate(panel.queries):
        builder = builder.with_target(_target(panel, query, chr(ord("A") + i)))
    return builder


def _converted(panel: Panel) -> Panel:
    if panel.unit not in _PER_ONE:
        return panel
    factor = _PER_ONE[panel.unit]
    return replace(
        panel,
        warn=None if panel.warn is None else panel.warn * factor,
        queries=tuple(
            replace(query, expr=f"({query.expr}) * {factor:.0e}") for query in panel.queries
        ),
    )


def _target(panel: Panel, query: Query, ref: str) -> prometheus.Dataquery:
    target = (
        prometheus.Dataquery()
        .expr(expanded(query.expr))
        .ref_id(ref)
        .legend_format(query.legend or "__auto")
        .datasource(DATASOURCE)
    )
    target = target.instant() if panel.kind in ("table", "stat") else target.range()
    formats = {"table": PromQueryFormat.TABLE, "heatmap": PromQueryFormat.HEATMAP}
    return target.format(formats.get(panel.kind, PromQueryFormat.TIME_SERIES))


def _mapping(panel: Panel) -> d.ValueMap:
    assert panel.texts
    return d.ValueMap(
        options={
            value: d.ValueMappingResult(text=text, color=colour, index=i)
            for i, (value, (text, colour)) in enumerate(panel.texts.items())
        }
    )


def _thresholds(panel: Panel) -> dashboard.ThresholdsConfig:
    low, high = (_BAD, _GOOD) if panel.warn_below else (_GOOD, _BAD)
    steps = [d.Threshold(value=None, color=low if panel.warn is not None else _NEUTRAL)]
    if panel.kind == "stat" and panel.warn is not None:
        # The lowest is also the colour of no value.
        steps = [d.Threshold(value=None, color=_NEUTRAL), d.Threshold(value=0, color=low)]
    if panel.warn is not None and panel.centred:
        # Good is between two lines.
        steps = [
            d.Threshold(value=None, color=_BAD),
            d.Threshold(value=-panel.warn, color=_GOOD),
        ]
    if panel.warn is not None:
        steps.append(d.Threshold(value=panel.warn, color=high))
    return dashboard.ThresholdsConfig().mode(d.ThresholdsMode.ABSOLUTE).steps(steps)


def _timeseries(panel: Panel) -> timeseries.Panel:
    builder = (
        timeseries.Panel()
        .line_width(1)
        .fill_opacity(60 if panel.stacked else 8)
        .show_points(c.VisibilityMode.AUTO)
        .span_nulls(False)
        .legend(
            common.VizLegendOptions()
            .display_mode(c.LegendDisplayMode.LIST)
            .placement(c.LegendPlacement.RIGHT if panel.long_legend else c.LegendPlacement.BOTTOM)
            .show_legend(True)
        )
        .tooltip(
            common.VizTooltipOptions().mode(c.TooltipDisplayMode.MULTI).sort(c.SortOrder.DESCENDING)
        )
        .color_scheme(dashboard.FieldColor().mode(d.FieldColorModeId.PALETTE_CLASSIC_BY_NAME))
        .thresholds(_thresholds(panel))
        # An axis that is centred by force ends at ±100 where all is zero.
        .axis_centered_zero(panel.centred and panel.warn is None)
    )
    if not panel.centred:
        builder = builder.axis_soft_min(0)
        if panel.warn is not None and panel.unit == "short" and panel.warn <= _FEW:
            builder = builder.axis_soft_max(2 * panel.warn)
    elif panel.warn is not None:
        builder = builder.axis_soft_min(-panel.warn).axis_soft_max(panel.warn)
    if panel.stacked:
        builder = builder.stacking(common.StackingConfig().mode(c.StackingMode.NORMAL).group("A"))
    if panel.warn is not None:
        builder = builder.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(c.GraphThresholdsStyleMode.DASHED)
        )
    return builder


def _stat(panel: Panel) -> stat.Panel:
    return (
        stat.Panel()
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .graph_mode(c.BigValueGraphMode.NONE)
        .color_mode(c.BigValueColorMode.VALUE)
        .text_mode(c.BigValueTextMode.AUTO)
        .thresholds(_thresholds(panel))
        .color_scheme(dashboard.FieldColor().mode(d.FieldColorModeId.THRESHOLDS))
    )


def _state(panel: Panel) -> statetimeline.Panel:
    return (
        statetimeline.Panel()
        .show_value(c.VisibilityMode.AUTO)
        .merge_values(True)
        .row_height(0.8)
        .fill_opacity(70)
        .legend(
            common.VizLegendOptions().display_mode(c.LegendDisplayMode.HIDDEN).show_legend(False)
        )
        .thresholds(_thresholds(panel))
        .color_scheme(dashboard.FieldColor().mode(d.FieldColorModeId.THRESHOLDS))
    )


def _heatmap(panel: Panel) -> heatmap.Panel:
    return (
        heatmap.Panel()
        .calculate(False)
        .cell_gap(1)
        .color(
            heatmap.HeatmapColorOptions()
            .mode(h.HeatmapColorMode.SCHEME)
            .scheme("Oranges")
            .scale(h.HeatmapColorScale.EXPONENTIAL)
            .exponent(0.5)
            .steps(64)
        )
        .y_axis(heatmap.YAxisConfig().unit(panel.unit))
        .rows_frame(heatmap.RowsHeatmapOptions().layout(c.HeatmapCellLayout.AUTO))
        .cell_values(heatmap.CellValues().unit("cps"))
        .show_legend()
        .mode(c.TooltipDisplayMode.SINGLE)
        .thresholds(_thresholds(panel))
    )


def _table(panel: Panel) -> table.Panel:
    builder = (
        table.Panel()
        .show_header(True)
        .cell_height(c.TableCellHeight.SM)
        .filterable(True)
        .min_width(_LEAST_WIDTH)
        .thresholds(_thresholds(panel))
    )
    names: dict[str, str] = {}
    left_out = ["Time", "__name__"]
    single = len(panel.queries) == 1
    for i, query in enumerate(panel.queries):
        value = "Value" if single else f"Value #{chr(ord('A') + i)}"
        if query.column:
            names[value] = query.column.title
        else:
            left_out.append(value)
    columns = _columns(panel, names)
    linked = [label for label in _LINKED if panel.link and label in columns]
    # What is left out is gone, for links, too.
    unseen = {name for label in linked for name in _LINKED[label]} & set(panel.hidden)
    left_out += [label for label in panel.hidden if label not in unseen]
    if not single:
        # Rows with different names would stay apart.
        for name, options in (
            ("filterFieldsByName", {"exclude": {"names": ["__name__"]}}),
            ("merge", {}),
        ):
            builder = builder.with_transformation(
                d.DataTransformerConfig(id_val=name, options=options)
            )
    builder = builder.with_transformation(
        d.DataTransformerConfig(
            id_val="organize",
            options={
                "excludeByName": dict.fromkeys(left_out, True),
                "indexByName": {name: i for i, name in enumerate(columns)},
                "renameByName": names,
            },
        )
    )
    # The words for no data are for the whole panel, not for each cell.
    for kind in ("string", "number"):
        builder = builder.override_by_field_type(
            kind, [d.DynamicConfigValue(id_val="noValue", value="-")]
        )
    for query in panel.queries:
        if query.column:
            builder = builder.override_by_name(query.column.title, _column(query))
    for label in columns:
        if label in _WIDTHS:
            width = d.DynamicConfigValue(id_val="custom.width", value=_WIDTHS[label])
            builder = builder.override_by_name(label, [width])
    if panel.sort:
        lowest = {
            query.column.title
            for query in panel.queries
            if query.column and query.column.warn_below
        }
        builder = builder.sort_by(
            [
                common.TableSortByFieldState().display_name(title).desc(title not in lowest)
                for title in panel.sort
            ]
        )
    for label in linked:
        builder = builder.override_by_name(label, [_link(label, panel.link)])
    for label in sorted(unseen):
        builder = builder.override_by_name(
            label, [d.DynamicConfigValue(id_val="custom.hidden", value=True)]
        )
    return builder


def _columns(panel: Panel, names: Mapping[str, str]) -> list[str]:
    """Columns from left to right: whom it is about first, values last."""
    declared = {metric.name: metric.labels for kind in COLLECTORS for metric in kind.metrics}
    labels: set[str] = set()
    for one in (named(expanded(query.expr)) for query in panel.queries):
        for grouping in one.by:
            labels |= grouping
        if not one.by:
            labels |= {"job", "instance"}
            labels |= {label for metric in one.metrics for label in declared.get(metric, ())}
    first = [label for label in _FIRST if label in labels]
    return [*first, *sorted(labels - set(_FIRST)), *names]


def _column(query: Query) -> list[d.DynamicConfigValue]:
    assert query.column
    properties = [d.DynamicConfigValue(id_val="unit", value=query.column.unit)]
    if query.column.warn is not None:
        low, high = (_BAD, _NEUTRAL) if query.column.warn_below else (_NEUTRAL, _BAD)
        steps = [{"color": low, "value": None}, {"color": high, "value": query.column.warn}]
        properties += [
            d.DynamicConfigValue(id_val="thresholds", value={"mode": "absolute", "steps": steps}),
            d.DynamicConfigValue(id_val="custom.cellOptions", value={"type": "color-text"}),
        ]
    return properties


def _link(label: str, board: str) -> d.DynamicConfigValue:
    selection = "&".join(
        f"var-{name}=${{__data.fields.{name}:percentencode}}" for name in _LINKED[label]
    )
    url = f"/d/{board}?var-datasource=${{datasource}}&{selection}&${{__url_time_range}}"
    link = {"title": f"Open this {label}", "url": url}
    return d.DynamicConfigValue(id_val="links", value=[link])


_KINDS: Final[Mapping[str, Callable[[Panel], Builder]]] = {
    "timeseries": _timeseries,
    "stat": _stat,
    "table": _table,
    "heatmap": _heatmap,
    "state": _state,
}
