# SPDX-License-Identifier: Apache-2.0
"""A diagnosis as plain text for a terminal or a ticket."""

import io
import time

from rich.console import Console
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from kvmexporter import __version__
from kvmexporter.model.findings import Finding
from kvmexporter.sampler import Snapshot
from kvmexporter.views import report
from kvmexporter.views.advice import advice
from kvmexporter.views.report import Chapter, Report, Table

WIDTH = 100
_INDENT = 2


def render(snapshot: Snapshot, earlier: Snapshot | None = None, where: str = "") -> str:
    """The diagnosis: findings first, then each VM, the host, the exporter.

    Args:
        snapshot: what to show.
        earlier: an older one; rates are since then, totals are left out.
        where: which system this is.
    """
    return render_report(report.build(snapshot, earlier), where)


def render_report(built: Report, where: str = "") -> str:
    """A report that was built already."""
    file = io.StringIO()
    out = Console(file=file, width=WIDTH, color_system=None, highlight=False)
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(built.time))
    over = f"rates over {built.seconds:.3g} s" if built.seconds else "totals"
    out.print(Text(f"kvmexporter {__version__}{where and f' on {where}'}, {when}, {over}\n"))
    _findings(out, built.findings)
    if built.overview:
        print_table(out, built.overview, 0)
    for note in built.notes:
        out.print(Text(note))
    if built.notes:
        out.print()
    for chapter in built.chapters:
        _chapter(out, chapter)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()).rstrip() + "\n"


def _findings(out: Console, findings: tuple[Finding, ...]) -> None:
    if not findings:
        return
    out.print(Text("Findings"))
    for one in advice(findings):
        out.print(Text(f"  {one.severity.upper()}  {one.about}  [{one.rule}]"))
        seen = "\n".join(one.seen)
        for name, words in (("seen", seen), ("why", one.matters), ("do", one.remedy)):
            grid = Grid.grid(padding=(0, 2, 0, 0))
            grid.add_column(width=4)
            grid.add_column(overflow="fold")
            grid.add_row(Text(name), Text(words))
            out.print(Padding(grid, (0, 0, 0, 2 * _INDENT)))
        out.print()


def _chapter(out: Console, chapter: Chapter) -> None:
    out.print(Text(chapter.title))
    if chapter.note:
        out.print(Padding(Text(chapter.note), (0, 0, 0, _INDENT)))
    if chapter.note or not chapter.sections:
        out.print()
    for section in chapter.sections:
        out.print(Text(f"  {section.title}"))
        for table in section.tables:
            print_table(out, table, 2 * _INDENT)


def print_table(out: Console, table: Table, indent: int) -> None:
    """Print rows under headings, numbers to the right."""
    has_headings = any(table.headings)
    grid = Grid(box=None, padding=(0, 2, 0, 0), show_header=has_headings, show_edge=False)
    for column, heading in enumerate(table.headings):
        grid.add_column(
            Text(heading.strip()),
            justify="right" if table.is_number(column) else "left",
            overflow="fold",
            no_wrap=table.is_number(column),
        )
    for row in table.rows:
        grid.add_row(*(Text(cell) for cell in row))
    out.print(Padding(grid, (0, 0, 0, indent)))
    out.print()
