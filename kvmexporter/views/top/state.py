# SPDX-License-Identifier: Apache-2.0
"""What is chosen in the live view, and what each key makes of it. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from kvmexporter.views import activity
from kvmexporter.views.activity import Activity

_MOST_FILTER = 64

SORTS: dict[str, Callable[[Activity], float]] = {
    "exits": lambda one: one.all_exits,
    "I/O": lambda one: one.total(activity.IO_EXITS),
    "to VMM": lambda one: one.total(activity.USERSPACE),
    "CPU": lambda one: one.total(activity.CPU),
    "waited": lambda one: one.total(activity.RUN_DELAY),
    "name": lambda _: 0.0,
}
_SORT_KEYS = {"E": "exits", "I": "I/O", "U": "to VMM", "C": "CPU", "W": "waited", "N": "name"}

HELP = (
    ("up down, k j", "choose a VM; in a VM: scroll"),
    ("PgUp PgDn Home End", "by pages, to the first and the last"),
    ("Enter, right", "look into the VM: its devices, paths and reasons"),
    ("Esc, left, Backspace", "back to the list"),
    ("s", "sort by the next column; E exits, I I/O, U to VMM, C CPU, W waited, N name"),
    ("r", "turn the order round"),
    ("/", "show VMs whose name contains what follows; Enter keeps it, Esc drops it"),
    ("p, space", "pause and go on"),
    ("v", "in a VM: exits by vCPU"),
    ("h, ?", "this help"),
    ("q", "quit"),
)


@dataclass(frozen=True, slots=True)
class State:
    """What is chosen.

    Attributes:
        cursor: the VM that Enter opens, by name; "" for the first.
        opened: the VM looked into, "" while the list is shown.
        sort: one of `SORTS`.
        is_reversed: whether the order is turned round.
        filter: shown VMs have this in their name.
        is_filtering: whether what is typed goes into the filter.
        is_paused: whether nothing new is shown.
        by_vcpu: whether a VM's exits are told by vCPU.
        is_helping: whether the help is shown.
        scroll: lines of the opened VM above the first one shown.
        is_over: whether to end.
    """

    cursor: str = ""
    opened: str = ""
    sort: str = "exits"
    is_reversed: bool = False
    filter: str = ""
    is_filtering: bool = False
    is_paused: bool = False
    by_vcpu: bool = False
    is_helping: bool = False
    scroll: int = 0
    is_over: bool = False


def listed(state: State, done: Sequence[Activity]) -> list[Activity]:
    """The VMs to show, in order."""
    by_name = sorted(
        (one for one in done if state.filter.lower() in one.vm.name.lower()),
        key=lambda one: one.vm.name,
    )
    ordered = sorted(by_name, key=SORTS[state.sort], reverse=state.sort != "name")
    return ordered[::-1] if state.is_reversed else ordered


def place(state: State, shown: Sequence[Activity]) -> int:
    """Where in the list the cursor is; at the top if its VM is not there."""
    names = [one.vm.name for one in shown]
    return names.index(state.cursor) if state.cursor in names else 0


def press(state: State, key: str, shown: Sequence[Activity], page: int) -> State:
    """What a key makes of it.

    Args:
        state: before.
        key: as `keys.decode` names it.
        shown: the VMs listed.
        page: lines that fit on the screen.
    """
    if key == "interrupt":
        return replace(state, is_over=True)
    if state.is_filtering:
        return _type(state, key)
    if state.is_helping:
        return replace(state, is_helping=False)
    match key:
        case "q":
            return replace(state, is_over=True)
        case "h" | "?":
            return replace(state, is_helping=True)
        case "p" | " ":
            return replace(state, is_paused=not state.is_paused)
        case "v":
            return replace(state, by_vcpu=not state.by_vcpu, scroll=0)
        case "escape" | "left" | "backspace":
            return replace(state, opened="", filter=state.filter if state.opened else "")
    return _scroll(state, key, page) if state.opened else _choose(state, key, shown, page)


def _type(state: State, key: str) -> State:
    match key:
        case "enter":
            return replace(state, is_filtering=False)
        case "escape":
            return replace(state, is_filtering=False, filter="")
        case "backspace":
            return replace(state, filter=state.filter[:-1])
        case _ if len(key) == 1 and len(state.filter) < _MOST_FILTER:
            return replace(state, filter=state.filter + key)
    return state


def _choose(state: State, key: str, shown: Sequence[Activity], page: int) -> State:
    if key == "s":
        names = list(SORTS)
        return replace(state, sort=names[(names.index(state.sort) + 1) % len(names)])
    if key in _SORT_KEYS:
        return replace(state, sort=_SORT_KEYS[key])
    if key == "r":
        return replace(state, is_reversed=not state.is_reversed)
    if key == "/":
        return replace(state, is_filtering=True, filter="")
    if not shown:
        return state
    at = place(state, shown)
    if key in ("enter", "right"):
        return replace(state, opened=shown[at].vm.name, cursor=shown[at].vm.name, scroll=0)
    moved = min(max(at + _step(key, page, len(shown)), 0), len(shown) - 1)
    return replace(state, cursor=shown[moved].vm.name) if moved != at else state


def _scroll(state: State, key: str, page: int) -> State:
    # The end is where the screen says it is.
    return replace(state, scroll=max(state.scroll + _step(key, page, 1 << 16), 0))


def _step(key: str, page: int, everything: int) -> int:
    return {
        "up": -1, "k": -1, "down": 1, "j": 1, "page up": -page, "page down": page,
        "home": -everything, "end": everything,
    }.get(key, 0)  # fmt: skip
