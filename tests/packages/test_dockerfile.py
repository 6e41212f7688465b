# SPDX-License-Identifier: Apache-2.0
"""The Dockerfile: what a linter would say, and whether what it names is there."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import click

from kvmexporter.cli import configfile
from kvmexporter.cli.main import cli

ROOT = Path(__file__).parents[2]
KNOWN = {"FROM", "RUN", "COPY", "ENV", "WORKDIR", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}


def instructions() -> list[tuple[str, str]]:
    """(instruction, its words), continued lines joined, comments left out."""
    text = (ROOT / "Dockerfile").read_text()
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    joined = re.sub(r"\\\n\s*", "", text)
    return [(line.split()[0], line.partition(" ")[2]) for line in joined.splitlines() if line]


def test_every_instruction_is_one() -> None:
    """And two stages, on a release that is named."""
    assert {name for name, _ in instructions()} <= KNOWN
    bases = [words for name, words in instructions() if name == "FROM"]
    assert [base.split()[0] for base in bases] == ["debian:bookworm-slim"] * 2


def test_what_is_run() -> None:
    """Is a script of sh's; apt takes nothing that was not asked for and leaves no lists."""
    for name, words in instructions():
        if name != "RUN":
            continue
        subprocess.run(["sh", "-n", "-c", words], check=True)
        if "apt-get install" in words:
            assert "--no-install-recommends" in words
            assert "rm -rf /var/lib/apt/lists/*" in words
        assert "pip install" not in words or "--no-cache-dir" in words
        assert ";" not in words, "what fails has to end it"


def test_the_distribution_has_the_packages() -> None:
    """By the names used."""
    for name, words in instructions():
        if found := re.search(r"apt-get install [^&]*", words) if name == "RUN" else None:
            packages = [one for one in shlex.split(found[0])[2:] if not one.startswith("-")]
            for package in packages:
                real = package.replace("$(dpkg --print-architecture)", "amd64")
                subprocess.run(["apt-cache", "show", real], check=True, capture_output=True)


def test_what_is_copied_is_there_and_not_ignored() -> None:
    """The build's context is what .dockerignore lets through."""
    let_through = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    }
    copied = {
        source.removeprefix("./")
        for name, words in instructions()
        if name == "COPY" and not words.startswith("--from")
        for source in words.split()[:-1]
    }
    assert copied == let_through
    for source in copied:
        assert (ROOT / source).exists()


def test_what_it_starts() -> None:
    """Flags that serve has, as another user than root, at a port that is exposed and asked."""
    found = dict(instructions())
    assert json.loads(found["ENTRYPOINT"]) == ["/opt/kvmexporter/bin/kvmexporter"]
    command, *flags = json.loads(found["CMD"])
    serve = cli.commands[command]
    assert isinstance(serve, click.Command)
    known = configfile.options(serve)
    given = dict(zip(flags[::2], flags[1::2], strict=True))
    assert {flag.lstrip("-") for flag in given} <= known.keys()
    assert given["--user"] == "kvmexporter"
    assert given["--web.listen-address"] == f":{found['EXPOSE']}"
    check = json.loads(found["HEALTHCHECK"].partition("CMD ")[2])
    assert f":{found['EXPOSE']}/-/healthy" in check[-1]
    compile(check[-1], "HEALTHCHECK", "exec")
