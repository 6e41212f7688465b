# SPDX-License-Identifier: Apache-2.0
"""A diagnosis as one HTML file for a ticket: its style inside, no script, nothing fetched."""

import time
from html import escape

from kvmexporter import __version__
from kvmexporter.sampler import Snapshot
from kvmexporter.views import assets, charts, history, markup, report
from kvmexporter.views.history import History
from kvmexporter.views.report import Chapter, Section, Table

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_LEAST_POINTS = 2


def render(
    snapshot: Snapshot,
    earlier: Snapshot | None = None,
    past: History | None = None,
    where: str = "",
) -> str:
    """The file.

    Args:
        snapshot: what to show.
        earlier: an older one; rates are since then.
        past: what happened in between, for lines; needs three points to draw any.
        where: which system this is.
    """
    built = report.build(snapshot, earlier)
    past = past or History()
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(built.time))
    over = f"rates over {built.seconds:.3g} s" if built.seconds else "totals"
    body = [
        f'<header><h1>KVM diagnosis</h1><span class="dim">'
        f"{escape(', '.join(filter(None, (where, when, over, f'kvmexporter {__version__}'))))}"
        "</span></header>",
        f"<h2>Findings</h2>\n{markup.findings(built.findings) or '<p>Nothing to complain of.</p>'}",
        "<h2>VMs</h2>",
        _overview(built.overview, past) if built.overview else "",
        *map(markup.note, built.notes),
        *(_chapter(chapter, past) for chapter in built.chapters),
    ]
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<style>\n{assets.read('style.css')}</style>"
    )
    return markup.document(f"KVM diagnosis, {when}", head, "\n".join(body))


def _overview(shown: Table, past: History) -> str:
    lines = [past.points(row[0], history.EXITS) for row in shown.rows]
    if max(map(len, lines)) < _LEAST_POINTS:
        return markup.table(shown)
    seconds = max(line[0][0] for line in lines if line)
    return markup.table(shown, lambda row: charts.sparkline(lines[row], seconds), "exits/s")


def _chapter(chapter: Chapter, past: History) -> str:
    parts = [f"<h2>{escape(chapter.title)}</h2>"]
    if chapter.note:
        parts.append(markup.note(chapter.note))
    if chapter.vm:
        parts.append(charts.timeline("Exits a second", past.points(chapter.vm, history.EXITS)))
    parts += [_section(section) for section in chapter.sections]
    return "\n".join(parts)


def _section(section: Section) -> str:
    return "\n".join(
        (
            f'<h3>{escape(section.title)}</h3>\n<div class="beside">',
            *(markup.table(one) for one in section.tables),
            *(charts.distribution(one.title, one.times) for one in section.distributions),
            "</div>",
        )
    )
