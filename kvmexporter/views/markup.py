# SPDX-License-Identifier: Apache-2.0
"""Parts of a report as HTML. Every word goes through `escape`: tenants choose names."""

from collections.abc import Callable, Iterable, Sequence
from html import escape

from kvmexporter.model.findings import Finding
from kvmexporter.sampler import CollectorStatus
from kvmexporter.views import charts
from kvmexporter.views.advice import advice
from kvmexporter.views.report import Table

# Headings of columns with words of ours, which are short and stay in one piece.
_WHOLE = ("collector", "state")

Graph = Callable[[int], str]
"""A row's number → markup for a cell of its own."""


def document(title: str, head: str, body: str) -> str:
    """A whole page; head and body are markup, the title is not."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n{head}\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def table(shown: Table, graph: Graph | None = None, heading: str = "") -> str:
    """A table, with bars if its rows have shares, and with a column of graphs if one is given."""
    if not shown.rows:
        return ""
    parts = ['<div class="scroll"><table>']
    if any(shown.headings):
        cells = [_cell("th", text.strip(), shown, i) for i, text in enumerate(shown.headings)]
        if graph:
            cells.append(f"<th>{escape(heading)}</th>")
        if shown.shares:
            cells.append("<th></th>")
        parts.append(f"<thead><tr>{''.join(cells)}</tr></thead>")
    parts.append("<tbody>")
    for number, row in enumerate(shown.rows):
        cells = [_cell("td", text, shown, i) for i, text in enumerate(row)]
        if graph:
            cells.append(f'<td class="graph">{graph(number)}</td>')
        if shown.shares:
            cells.append(f'<td class="graph">{charts.bar(shown.shares[number])}</td>')
        parts.append(f"<tr>{''.join(cells)}</tr>")
    return "".join((*parts, "</tbody></table></div>"))


def _cell(tag: str, text: str, shown: Table, column: int) -> str:
    kind = "number" if shown.is_number(column) else "name" if column == 0 else ""
    if shown.headings[column] in _WHOLE:
        kind = "whole"
    attribute = f' class="{kind}"' if kind else ""
    return f"<{tag}{attribute}>{escape(text)}</{tag}>"


def note(words: str) -> str:
    """A sentence beside what matters."""
    return f'<p class="note">{escape(words)}</p>'


def findings(found: Sequence[Finding]) -> str:
    """A card each; one for all that have it in common."""
    return "".join(
        f'<div class="finding {escape(one.severity)}"><p><span class="severity">'
        f"{escape(one.severity.upper())}</span> "
        f"<strong>{escape(one.about)}</strong> "
        f'<code class="dim">{escape(one.rule)}</code></p>'
        f"{''.join(f'<p>{escape(line)}</p>' for line in one.seen)}"
        f'<p class="dim">Why it matters: {escape(one.matters)}</p>'
        f"<p>What to do: {escape(one.remedy)}</p></div>\n"
        for one in advice(found)
    )


def collectors(statuses: Iterable[CollectorStatus]) -> str:
    """A row each: what it gives, or why it cannot."""
    rows = "".join(
        f'<tr class="{escape(one.state)}"><td class="whole">{escape(one.name)}</td>'
        f'<td class="whole state">{escape(one.state)}</td>'
        f"<td>{escape(one.detail or one.summary)}</td></tr>\n"
        for one in statuses
    )
    return (
        '<div class="scroll"><table><thead><tr><th>Collector</th><th>State</th>'
        "<th>What it gives, or why it cannot</th></tr></thead>\n"
        f"<tbody>\n{rows}</tbody></table></div>"
    )
