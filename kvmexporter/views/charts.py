# SPDX-License-Identifier: Apache-2.0
"""Charts as inline SVG: nothing but shapes, numbers and escaped words; colours come from CSS."""

from collections.abc import Sequence
from html import escape

from kvmexporter.model.histogram import Histogram, upper_bound_seconds
from kvmexporter.views import quantities

Points = Sequence[tuple[float, float]]
"""Seconds ago and events a second then, oldest first."""

_SPARK = (120, 24)
_CHART = (640, 120)
_LEFT, _BOTTOM = 56, 18


def bar(share: float) -> str:
    """A bar that is this part, 0 to 1, of its cell."""
    width = 100 * min(max(share, 0.0), 1.0)
    return (
        '<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="{width:.1f}" height="10"/></svg>'
    )


def sparkline(points: Points, seconds: float) -> str:
    """The course of a rate over so many seconds up to now, without axes."""
    width, height = _SPARK
    if len(points) < 2:
        return f'<svg class="spark" viewBox="0 0 {width} {height}" aria-hidden="true"></svg>'
    line = _line(points, seconds, (0, width), (2, height - 2))
    return (
        f'<svg class="spark" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(_course(points))}">{_area(line, height)}'
        f'<polyline points="{_text(line)}"/></svg>'
    )


def timeline(title: str, points: Points) -> str:
    """The course of a rate with its axes; "" if there is none."""
    if len(points) < 2:
        return ""
    width, height = _CHART
    top = max(rate for _, rate in points) or 1.0
    seconds = points[0][0]
    line = _line(points, seconds, (_LEFT, width), (8, height - _BOTTOM))
    labels = "".join(
        f'<text x="{_LEFT - 6}" y="{y}" text-anchor="end">{quantities.short(value)}</text>'
        for y, value in ((14, top), (height - _BOTTOM, 0.0))
    )
    return (
        f'<figure><figcaption>{escape(title)}</figcaption><svg class="chart" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="{escape(_course(points))}">'
        f'<path class="axis" d="M{_LEFT} 8V{height - _BOTTOM}H{width}"/>'
        f'{_area(line, height - _BOTTOM)}<polyline points="{_text(line)}"/>{labels}'
        f'<text x="{_LEFT}" y="{height - 4}">{seconds:.3g} s ago</text>'
        f'<text x="{width}" y="{height - 4}" text-anchor="end">now</text></svg></figure>'
    )


def distribution(title: str, times: Histogram) -> str:
    """How often which time: a column for each power of two, from the least to the greatest."""
    seen = [bucket for bucket, count in enumerate(times.counts) if count]
    if not seen:
        return ""
    first, last = max(seen[0] - 1, 0), min(seen[-1] + 1, len(times.counts) - 1)
    shown = times.counts[first : last + 1]
    width, height = _CHART[0] // 2, _CHART[1]
    step, top = width / len(shown), max(shown)
    columns = "".join(
        f'<rect x="{i * step + 1:.1f}" y="{8 + (1 - count / top) * (height - _BOTTOM - 8):.1f}" '
        f'width="{max(step - 2, 1):.1f}" height="{count / top * (height - _BOTTOM - 8):.1f}">'
        f"<title>{escape(_bucket(first + i, len(times.counts)))}: {count:,}</title></rect>"
        for i, count in enumerate(shown)
    )
    caption = f"{title}: {times.count:,}, mean {quantities.mean(times)}"
    caption += "".join(f", p{q} {quantities.quantile(times, q / 100)}" for q in (50, 99))
    return (
        f'<figure class="half"><figcaption>{escape(caption)}</figcaption><svg class="chart" '
        f'viewBox="0 0 {width} {height}" role="img" aria-label="{escape(caption)}">'
        f'<path class="axis" d="M0 {height - _BOTTOM}H{width}"/>{columns}'
        f'<text x="0" y="{height - 4}">{quantities.duration(_lower(first))}</text>'
        f'<text x="{width}" y="{height - 4}" text-anchor="end">'
        f"{escape(_bucket(last, len(times.counts)))}</text></svg></figure>"
    )


def _lower(bucket: int) -> float:
    return upper_bound_seconds(bucket - 1) if bucket else 0.0


def _bucket(bucket: int, buckets: int) -> str:
    if bucket == buckets - 1:
        return f"over {quantities.duration(_lower(bucket))}"
    return f"up to {quantities.duration(upper_bound_seconds(bucket))}"


def _course(points: Points) -> str:
    rates = [rate for _, rate in points]
    return f"from {quantities.short(min(rates))} to {quantities.short(max(rates))} a second"


def _line(
    points: Points, seconds: float, across: tuple[float, float], down: tuple[float, float]
) -> list[tuple[float, float]]:
    """Where the points are, the greatest rate on top, now at the right."""
    (left, right), (top, bottom) = across, down
    greatest = max(rate for _, rate in points) or 1.0
    return [
        (
            right - min(age / seconds, 1.0) * (right - left),
            bottom - max(rate, 0.0) / greatest * (bottom - top),
        )
        for age, rate in points
    ]


def _text(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _area(points: Sequence[tuple[float, float]], bottom: float) -> str:
    ends = [(points[0][0], bottom), *points, (points[-1][0], bottom)]
    return f'<polygon points="{_text(ends)}"/>'
