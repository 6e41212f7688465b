# SPDX-License-Identifier: Apache-2.0
"""Man pages from the command line itself: `python deploy/deb/manpages.py DIRECTORY`."""

import sys
from pathlib import Path

import click

from kvmexporter import __version__
from kvmexporter.cli.configfile import DEFAULT_PATH
from kvmexporter.cli.main import cli

_FILES = (
    (str(DEFAULT_PATH), "what no flag and no variable says; each key is a flag without its dashes"),
)
_EXIT = (("0", "done"), ("1", "failed"), ("2", "bad usage, or a bad configuration"))


def escaped(text: str) -> str:
    """Text that roff takes for text."""
    lines = text.replace("\\", "\\e").replace("-", "\\-").splitlines()
    return "\n".join(f"\\&{line}" if line[:1] in (".", "'") else line for line in lines)


def page(command: click.Command, path: tuple[str, ...]) -> str:
    """One command's page in man(7)."""
    context = click.Context(command, info_name=" ".join(path))
    name = "-".join(path)
    summary = (command.help or "").strip().splitlines()[0].rstrip(".")
    out = [
        f'.TH {name.upper()} 1 "" "kvmexporter {__version__}" "User Commands"',
        ".ad l",  # flags are long words; lines of them cannot be stretched
        ".SH NAME",
        f"{escaped(name)} \\- {escaped(summary[:1].lower() + summary[1:])}",
        ".SH SYNOPSIS",
        f".B {escaped(' '.join(path))}",
        escaped(" ".join(command.collect_usage_pieces(context))),
        ".SH DESCRIPTION",
        escaped(command.help or ""),
    ]
    if isinstance(command, click.Group):
        out.append(".SH COMMANDS")
        for below, one in sorted(command.commands.items()):
            out += [".TP", f".BR {escaped('-'.join((*path, below)))} (1)"]
            out.append(escaped(one.get_short_help_str(200)))
    records = [found for one in command.params if (found := one.get_help_record(context))]
    if records:
        out.append(".SH OPTIONS")
        for flags, text in records:
            out += [".TP", f".B {escaped(flags)}", escaped(text)]
    out.append(".SH FILES")
    for file, text in _FILES:
        out += [".TP", f".I {escaped(file)}", escaped(text)]
    out.append(".SH EXIT STATUS")
    for code, text in _EXIT:
        out += [".TP", f".B {code}", escaped(text)]
    return "\n".join(line for line in out if line) + "\n"


def pages(command: click.Command = cli, path: tuple[str, ...] = ("kvmexporter",)) -> dict[str, str]:
    """File name → page, of a command and all below it."""
    found = {f"{'-'.join(path)}.1": page(command, path)}
    if isinstance(command, click.Group):
        for name, below in command.commands.items():
            found |= pages(below, (*path, name))
    return found


if __name__ == "__main__":
    for file_name, content in pages().items():
        (Path(sys.argv[1]) / file_name).write_text(content)
