# SPDX-License-Identifier: Apache-2.0
"""Every dashboard, and which panel is where."""

from typing import Final

from dashboards.generate import (
    board,
    board_exits,
    board_fleet,
    board_health,
    board_memory,
    board_timekeeping,
)
from dashboards.generate.panel import Panel

BOARDS: Final = (
    board_fleet.BOARD,
    board_exits.BOARD,
    board_timekeeping.BOARD,
    board_memory.BOARD,
    board_health.BOARD,
)


def find(uid: str, title: str) -> Panel:
    """A panel by its dashboard's uid and its title; KeyError if there is none."""
    for one in BOARDS:
        for panel in board.panels(one):
            if (one.uid, panel.title) == (uid, title):
                return panel
    raise KeyError(f"no panel {title!r} in {uid}")


def panel_id(uid: str, title: str) -> int:
    """Its id; KeyError if there is no such panel."""
    find(uid, title)
    return board.panel_id(uid, title)
