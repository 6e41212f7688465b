# SPDX-License-Identifier: Apache-2.0
"""Charts as SVG."""

from xml.etree import ElementTree

import pytest

from kvmexporter.views.charts import bar, distribution, sparkline, timeline
from tests.unit.snapshots import histogram

HOSTILE = "<script>alert(1)</script>&\"'"
POINTS = [(60.0, 0.0), (30.0, 50.0), (0.0, 100.0)]


def points(svg: str) -> list[tuple[float, float]]:
    """Of the line."""
    line = next(one for one in ElementTree.fromstring(svg).iter() if one.tag == "polyline")
    return [
        (float(x), float(y)) for x, y in (one.split(",") for one in line.attrib["points"].split())
    ]


@pytest.mark.parametrize(("share", "width"), [(0.0, "0.0"), (0.25, "25.0"), (7.0, "100.0")])
def test_bar(share: float, width: str) -> None:
    """As wide as its part, never wider than its cell."""
    (rect,) = ElementTree.fromstring(bar(share))
    assert rect.attrib["width"] == width


def test_a_sparkline_is_drawn_by_time() -> None:
    """From the left, a minute ago, to the right, now; the greatest on top."""
    assert points(sparkline(POINTS, 60.0)) == [(0.0, 22.0), (60.0, 12.0), (120.0, 2.0)]


def test_a_short_sparkline_ends_at_the_right() -> None:
    """What is not known yet stays blank."""
    assert points(sparkline(POINTS[1:], 60.0))[0][0] == 60.0
    assert "polyline" not in sparkline(POINTS[:1], 60.0)
    assert points(sparkline([(1.0, 0.0), (0.0, 0.0)], 60.0))[1] == (120.0, 22.0)


def test_a_timeline_says_its_greatest_rate() -> None:
    """And how long ago it begins."""
    drawn = timeline(HOSTILE, POINTS)
    words = [one.text for one in ElementTree.fromstring(drawn).iter("text")]
    assert words == ["100", "0", "60 s ago", "now"]
    assert timeline("exits", POINTS[:1]) == ""


def test_a_distribution_has_a_column_a_bucket() -> None:
    """From the least to the greatest seen, and one more on either side."""
    drawn = ElementTree.fromstring(distribution("halts", histogram({3: 5, 5: 10}, 1_000_000)))
    columns = list(drawn.iter("rect"))
    assert len(columns) == 5
    assert [float(one.attrib["height"]) for one in columns] == [0.0, 47.0, 0.0, 94.0, 0.0]
    assert distribution("halts", histogram({}, 0)) == ""


def test_words_are_escaped() -> None:
    """They cannot add to the markup."""
    for drawn in (timeline(HOSTILE, POINTS), distribution(HOSTILE, histogram({3: 5}, 1))):
        figure = ElementTree.fromstring(drawn)
        caption = figure.find("figcaption")
        assert caption is not None
        assert (caption.text or "").startswith(HOSTILE)
