# SPDX-License-Identifier: Apache-2.0
"""Parts of a report as HTML."""

from xml.etree import ElementTree

from kvmexporter.sampler import State
from kvmexporter.views import assets
from kvmexporter.views.markup import collectors, document, findings, table
from kvmexporter.views.report import Table
from tests.unit.snapshots import status
from tests.unit.views.samples import CRITICAL, HOSTILE, WARNING


def test_a_table() -> None:
    """Headings, cells, numbers to the right, bars for shares."""
    shown = Table(("device", "I/O/s "), ((HOSTILE, "63"), ("rtc", "31")), (0.67, 0.33))
    drawn = ElementTree.fromstring(table(shown, lambda row: f"<i>{row}</i>", "line"))
    assert [one.text for one in drawn.iter("th")] == ["device", "I/O/s", "line", None]
    cells = [(one.text, one.attrib.get("class")) for one in drawn.iter("td")]
    assert cells[:3] == [(HOSTILE, "name"), ("63", "number"), (None, "graph")]
    assert [one.text for one in drawn.iter("i")] == ["0", "1"]
    assert len(list(drawn.iter("rect"))) == 2


def test_an_empty_table() -> None:
    """Is nothing at all."""
    assert table(Table(("device",), ())) == ""


def test_findings() -> None:
    """Each a card that says its severity in words, too."""
    drawn = ElementTree.fromstring(f"<x>{findings([CRITICAL, WARNING])}</x>")
    assert [card.attrib["class"] for card in drawn] == ["finding critical", "finding warning"]
    words = ["".join(card.itertext()) for card in drawn]
    assert words[0].startswith("CRITICAL clock bad-clockBad.")
    assert "VM web, net0" in words[1]
    assert words[1].endswith("What to do: Mend it.")


def test_collectors() -> None:
    """What each gives, or why it cannot."""
    drawn = ElementTree.fromstring(collectors([status("io", State.FAILED, HOSTILE)]))
    assert [one.text for one in drawn.iter("td")] == ["io", "failed", HOSTILE]
    assert [one.attrib.get("class") for one in drawn.iter("td")] == ["whole", "whole state", None]


def test_what_stays_in_one_piece() -> None:
    """Collectors and their states, in a report as well."""
    shown = Table(("collector", "state", "detail"), (("io", "failed", HOSTILE),))
    drawn = ElementTree.fromstring(table(shown))
    assert [one.attrib.get("class") for one in drawn.iter("td")] == ["whole", "whole", None]
    assert "td.whole { white-space: nowrap; }" in assets.read("style.css")


def test_a_document() -> None:
    """Its title cannot add to its markup."""
    assert "<title>&lt;img src=x onerror=alert(1)&gt;</title>" in document(HOSTILE, "", "")
