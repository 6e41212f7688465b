# SPDX-License-Identifier: Apache-2.0
"""The diagnosis as one HTML file."""

from html.parser import HTMLParser

import pytest

from kvmexporter.model.vm import bounded_name
from kvmexporter.views.history import History
from kvmexporter.views.html import render
from tests.unit.snapshots import HOSTILE_NAMES, snapshot, vm
from tests.unit.views.samples import HOSTILE, everything

FETCHING = {"src", "href", "action", "data", "poster", "srcset", "background"}


class Reader(HTMLParser):
    """Elements opened, attributes, and words."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.attributes: set[str] = set()
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_everything_is_there() -> None:
    """Findings before VMs before the host before the exporter, with charts."""
    past = History()
    for times in range(1, 5):
        past.observe(everything(times, 100.0 + times))
    page = Reader(render(everything(4, 104.0), everything(1, 101.0), past))
    order = ["Findings", "VMs", "VM web", f"VM {HOSTILE}", "Host", "Exporter"]
    found = [
        next(i for i, one in enumerate(page.words) if one == word or one.startswith(f"{word}  "))
        for word in order
    ]
    assert found == sorted(found)
    assert page.opened.count("polyline") == 4  # a small and a large line for each VM
    assert {"rect", "style"} <= set(page.opened)


def test_nothing_is_fetched_or_run() -> None:
    """It is the whole file, and without script."""
    page = Reader(render(everything()))
    assert not FETCHING & page.attributes
    assert not {"script", "img", "link", "iframe"} & set(page.opened)
    assert not [name for name in page.attributes if name.startswith("on")]
    assert HOSTILE in page.words


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=range(len(HOSTILE_NAMES)))
def test_names_add_nothing_to_the_markup(name: str) -> None:
    """Whatever a tenant calls his VM."""
    plain = Reader(render(snapshot(vms=[vm("plain")])))
    hostile = Reader(render(snapshot(vms=[vm(bounded_name(name))])))
    assert hostile.opened == plain.opened
    assert hostile.attributes == plain.attributes


def test_no_vm() -> None:
    """An idle host is told so."""
    assert "No VM runs on this host." in Reader(render(snapshot())).words
    assert "Nothing to complain of." in Reader(render(snapshot())).words
