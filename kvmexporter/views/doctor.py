# SPDX-License-Identifier: Apache-2.0
"""An examination as text and as JSON."""

import io
import json
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kvmexporter import __version__
from kvmexporter.diagnosis import Examination
from kvmexporter.model.needs import Diagnosis, Standing

FORMAT = 1
_WIDTH = 100


def render(found: Examination) -> str:
    """A line a need and a line a collector; below what is not ok, what to do on this platform."""
    file = io.StringIO()
    out = Console(file=file, width=_WIDTH, color_system=None, highlight=False)
    out.print(Text(f"kvmexporter {__version__}, remedies for: {found.platform}\n"))
    _table(out, "need", found.needs, found.platform)
    _table(out, "collector", found.collectors, found.platform)
    if found.failed:
        out.print(Text(f"asked for, and cannot work: {', '.join(found.failed)}"))
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()).rstrip() + "\n"


def _table(out: Console, what: str, lines: Sequence[Diagnosis], platform: str) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column(what, no_wrap=True)
    table.add_column("state", no_wrap=True)
    table.add_column("seen, and what to do", overflow="fold")
    for one in lines:
        words = Text(" ".join(one.verdict.seen.split()))
        for remedy in _remedies(one, platform):
            words.append(f"\n→ {remedy}")
        table.add_row(Text(one.name), Text(one.verdict.standing), words)
    out.print(table)
    out.print()


def _remedies(one: Diagnosis, platform: str) -> list[str]:
    """What the check itself knows to do, then what is done on this platform."""
    if one.verdict.standing is Standing.OK:
        return []
    return list(dict.fromkeys(filter(None, (one.verdict.remedy, one.remedies.get(platform)))))


def render_json(found: Examination) -> str:
    """Everything, with the remedies of every platform."""
    document = {
        "format": FORMAT,
        "version": __version__,
        "platform": found.platform,
        "needs": [
            _line(one) | {"remedies": dict(one.remedies), "collectors": list(one.concerned)}
            for one in found.needs
        ],
        "collectors": [_line(one) | {"lacks": list(one.concerned)} for one in found.collectors],
        "failed": list(found.failed),
    }
    return json.dumps(document, indent=2)


def _line(one: Diagnosis) -> dict[str, object]:
    return {
        "name": one.name,
        "state": one.verdict.standing,
        "seen": one.verdict.seen,
        "remedy": one.verdict.remedy,
    }
