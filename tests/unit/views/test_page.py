# SPDX-License-Identifier: Apache-2.0
"""The page at `/`."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from kvmexporter.model.exits import UNANNOUNCED
from kvmexporter.model.vm import SEEING
from kvmexporter.sampler import Snapshot, State
from kvmexporter.views.assets import SERVED
from kvmexporter.views.history import History
from kvmexporter.views.http import PAGE_POLICY
from kvmexporter.views.page import Page, render
from tests.unit.host import Clock
from tests.unit.snapshots import HOSTILE_NAMES, snapshot, status, vm
from tests.unit.views.samples import HOSTILE, everything


class Reader(HTMLParser):
    """What a browser would see: elements opened, links, cells of tables."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.links: list[str | None] = []
        self.cells: list[str] = []
        self._in_cell = False
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append(tag)
        if tag == "a":
            self.links.append(dict(attrs)["href"])
        if tag == "td":
            self.cells.append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "td":
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.cells[-1] += data


def drawn(shown: Snapshot, path: str = "/metrics") -> str:
    return render(shown, path, History())


def test_collectors() -> None:
    """One row each: what it gives, or why it cannot."""
    page = Reader(
        drawn(
            snapshot(
                statuses=[
                    status("vms"),
                    status("exits", State.UNAVAILABLE, "no bcc: install it"),
                    status("io", State.FAILED, "KeyError: 'x'"),
                ]
            ),
        )
    )
    assert page.cells == [
        *("vms", "ok", "what vms gives"),
        *("exits", "unavailable", "no bcc: install it"),
        *("io", "failed", "KeyError: 'x'"),
    ]
    assert page.links == ["/metrics"]


@pytest.mark.parametrize(
    "text", [name for name in HOSTILE_NAMES if name and "\0" not in name and "\n" not in name]
)
def test_nothing_gets_out_of_its_place(text: str) -> None:
    """Neither a collector's message nor the path can add to the page's markup."""
    plain = Reader(drawn(snapshot(statuses=[status("vms", State.FAILED, "x")]), "/x"))
    page = Reader(drawn(snapshot(statuses=[status("vms", State.FAILED, text)]), text))
    assert page.opened == plain.opened
    assert page.links == [text]
    assert page.cells == ["vms", "failed", text]


def test_nothing_is_fetched_from_elsewhere() -> None:
    """It works in a network without the outside world; style and script are our own files."""
    page = drawn(everything())
    assert "http" not in page
    assert set(SERVED) == {"/page.css", "/page.js"}
    assert page.count("<script") == 1
    assert '<script src="/page.js" defer></script>' in page
    assert "unsafe" not in PAGE_POLICY
    assert " style=" not in page


def test_live() -> None:
    """VMs by what they do now, their hottest paths, and lines of the last minute."""
    past = History()
    for times in range(1, 4):
        past.observe(everything(times, 100.0 + times))
    whole = render(everything(3, 103.0), "/metrics", past)
    assert "second look" not in whole
    page = Reader(whole)
    assert page.cells[:8] == ["web", "qemu", "2", "100.0", "94.0", "61.0", "net0 (e1000)", ""]
    assert page.cells[8:12] == [HOSTILE, "qemu", "2", "≥8.0"]
    assert page.opened.count("polyline") == 5  # two VMs, three paths
    assert page.cells[16:22] == ["web", "net0 (e1000)", "emulated", "63.0", "96.8%", "189"]


def test_the_first_look() -> None:
    """Says why there are no rates yet, unless there never will be."""
    note = '<p class="note">rates appear from the second look on</p>'
    past = History()
    past.observe(everything())
    assert note in render(everything(), "/metrics", past)
    assert note not in drawn(snapshot(statuses=[status("vms")]))
    assert note not in drawn(snapshot(vms=[vm("web")], statuses=[status("vms")]))


def test_what_nobody_counts() -> None:
    """Is not shown as nothing."""
    page = drawn(snapshot(vms=[vm("web")], statuses=[status("vms")]))
    assert Reader(page).cells[:8] == ["web", "qemu", "2", "-", "-", "-", "", ""]
    assert '<p class="note">exits are not counted: the collector exits is off</p>' in page
    assert "They are not counted." in page


def test_what_nobody_sees() -> None:
    """Is not said to be not there."""
    assert "<p>No VM runs on this host.</p>" in drawn(snapshot())
    page = drawn(replace(snapshot(), sees_all_vms=False))
    assert "No VM runs" not in page
    assert "No VM can be seen" in page
    assert SEEING in page


def test_where_kvm_announces_no_exits() -> None:
    """A footnote says what the sign before the number means."""
    assert f'<p class="note">≥: {UNANNOUNCED}</p>' in drawn(everything())


def test_the_clock_and_the_findings() -> None:
    """What is wrong with it comes first."""
    page = drawn(everything())
    assert page.index("bad-clock") < page.index("slow-nic") < page.index("<h2>VMs</h2>")
    cells = Reader(page).cells
    assert cells[cells.index("clock offset") : cells.index("clock offset") + 3] == [
        "clock offset", "", "-2.5 ms",
    ]  # fmt: skip


def test_many_vms() -> None:
    """Fifty are shown, the others counted."""
    page = drawn(snapshot(vms=[vm(f"vm{i}", i + 1) for i in range(53)]))
    assert Reader(page).opened.count("tr") == 2 + 50
    assert "and 3 VMs more" in page


def test_viewers_share_a_drawing() -> None:
    """For less than a second."""
    clock = Clock()
    page = Page("/metrics", clock)
    assert page.recent() is None
    first = page.draw(everything())
    assert page.recent() == first
    clock.now += 1.0
    assert page.recent() is None
    second = page.draw(everything(2, 101.0))
    assert page.recent() == second != first
    assert "polyline" not in first
