# SPDX-License-Identifier: Apache-2.0
"""What keys make of what is chosen."""

from collections.abc import Sequence

import pytest

from kvmexporter.views.activity import Activity, activities
from kvmexporter.views.top.state import HELP, SORTS, State, listed, place, press
from tests.unit.views.samples import HOSTILE, everything

DONE = activities(everything())


def after(*keys: str, state: State = State(), done: Sequence[Activity] = DONE) -> State:  # noqa: B008 - frozen
    for key in keys:
        state = press(state, key, listed(state, done), 10)
    return state


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["q"], State(is_over=True)),
        (["interrupt"], State(is_over=True)),
        (["?"], State(is_helping=True)),
        (["h", "q"], State()),
        (["p"], State(is_paused=True)),
        (["p", " "], State()),
        (["v"], State(by_vcpu=True)),
        (["r"], State(is_reversed=True)),
        (["s"], State(sort="I/O")),
        (["s"] * len(SORTS), State()),
        (["N"], State(sort="name")),
        (["down"], State(cursor=HOSTILE)),
        (["down", "down", "k"], State(cursor="web")),
        (["end"], State(cursor=HOSTILE)),
        (["page down"], State(cursor=HOSTILE)),
        (["up"], State()),
        (["enter"], State(cursor="web", opened="web")),
        (["j", "right"], State(cursor=HOSTILE, opened=HOSTILE)),
        (["enter", "down", "down", "up"], State(cursor="web", opened="web", scroll=1)),
        (["enter", "page down", "home"], State(cursor="web", opened="web")),
        (["enter", "s"], State(cursor="web", opened="web")),
        (["enter", "escape"], State(cursor="web")),
        (["/", "w", "q"], State(is_filtering=True, filter="wq")),
        (["/", "w", "q", "backspace", "enter"], State(filter="w")),
        (["/", "w", "enter", "enter", "left"], State(filter="w", cursor="web")),
        (["/", "w", "escape"], State()),
        (["/", "w", "enter", "escape"], State()),
        (["/", "up"], State(is_filtering=True)),
        (["/", *"x" * 200], State(is_filtering=True, filter="x" * 64)),
        (["x"], State()),
    ],
)
def test_keys(keys: list[str], expected: State) -> None:
    """Each does what the help says."""
    assert after(*keys) == expected


def test_without_a_vm() -> None:
    """There is nothing to open."""
    assert after("enter", "down", done=[]) == State()


def test_the_order() -> None:
    """By what is asked for; the filter knows no case; a cursor whose VM is gone is at the top."""
    assert [one.vm.name for one in listed(State(), DONE)] == ["web", HOSTILE]
    assert [one.vm.name for one in listed(State(is_reversed=True), DONE)] == [HOSTILE, "web"]
    assert [one.vm.name for one in listed(State(sort="name"), DONE)] == [HOSTILE, "web"]
    assert [one.vm.name for one in listed(State(filter="WE"), DONE)] == ["web"]
    assert place(State(cursor="gone"), DONE) == 0
    assert place(State(cursor=HOSTILE), DONE) == 1


def test_the_help_names_every_key() -> None:
    """Also those that sort."""
    words = " ".join(f"{keys} {what}" for keys, what in HELP)
    for key in ("Enter", "Esc", "s", "/", "p", "v", "h", "q", "E exits", "N name"):
        assert key in words
