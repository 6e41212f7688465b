# SPDX-License-Identifier: Apache-2.0
"""Log lines: one each, whatever the message."""

import json
import logging
import re
from datetime import UTC, datetime

import pytest

from kvmexporter import logs

HOSTILE = (
    "",
    "plain",
    "two words",
    'say "no"',
    "back\\slash",
    "key=value",
    "line\nanother\r\nthird\x0b\x0cfourth\x85fifth\u2028sixth",
    "\x1b[31mred\x1b[0m\0",
    "<b>&amp;",
    "Größe 🐧",
    "x" * 10_000,
)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("plain", "key=plain"),
        ("1.5", "key=1.5"),
        ("Größe", "key=Größe"),
        ("", 'key=""'),
        ("two words", 'key="two words"'),
        ('say "no"', r'key="say \"no\""'),
        ("a=b", 'key="a=b"'),
        ("a\\b", r'key="a\\b"'),
        ("a\nb", r'key="a\nb"'),
        ("a\x1bb", r'key="a\u001bb"'),
        (7, "key=7"),
        (None, "key=None"),
    ],
)
def test_logfmt(value: object, written: str) -> None:
    """Only what needs quotes has them."""
    assert logs.logfmt({"key": value}) == written


def test_logfmt_of_several() -> None:
    """Pairs in order, a space between."""
    assert logs.logfmt({"a": 1, "b": "x y", "c": True}) == 'a=1 b="x y" c=True'


def parsed(line: str) -> dict[str, str]:
    """A logfmt line read back."""
    pairs = re.findall(r'([^\s="]+)=("(?:[^"\\]|\\.)*"|[^\s"]*)(?: |$)', line)
    assert " ".join(f"{key}={value}" for key, value in pairs) == line
    return {key: json.loads(value) if value.startswith('"') else value for key, value in pairs}


@pytest.mark.parametrize("form", logs.FORMATS)
@pytest.mark.parametrize("text", HOSTILE)
def test_one_line_whatever_the_message(
    form: str, text: str, root_logging: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """Message and fields come back as they were, from a single line."""
    logs.configure("info", form)
    root_logging.warning("%s", text, extra={"vm": text, "count": 3})
    output = capsys.readouterr().err
    assert output.endswith("\n")
    assert len(output.splitlines()) == 1
    fields = json.loads(output) if form == "json" else parsed(output[:-1])
    assert (fields["msg"], fields["vm"], fields["level"]) == (text, text, "warn")
    assert str(fields["count"]) == "3"
    assert fields["logger"] == "root"
    age = datetime.now(UTC) - datetime.fromisoformat(fields["time"])
    assert 0 <= age.total_seconds() < 60


@pytest.mark.parametrize("form", logs.FORMATS)
def test_an_exception_stays_in_its_line(
    form: str, root_logging: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its traceback."""
    logs.configure("info", form)
    try:
        raise ValueError("what\nwent wrong")
    except ValueError:
        root_logging.exception("failed")
    (line,) = capsys.readouterr().err.splitlines()
    fields = json.loads(line) if form == "json" else parsed(line)
    assert fields["exception"].startswith("Traceback")
    assert fields["exception"].endswith("ValueError: what\nwent wrong")


@pytest.mark.parametrize(
    ("level", "heard"),
    [
        ("debug", ["debug", "info", "warn", "error"]),
        ("info", ["info", "warn", "error"]),
        ("warn", ["warn", "error"]),
        ("error", ["error"]),
    ],
)
def test_levels(
    level: str, heard: list[str], root_logging: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is less severe is not heard."""
    logs.configure(level, "logfmt")
    for one in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        root_logging.log(one, "x")
    lines = capsys.readouterr().err.splitlines()
    assert [parsed(line)["level"] for line in lines] == heard


def test_configuring_again_replaces(
    root_logging: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    """No line is ever written twice."""
    logs.configure("info", "logfmt")
    logs.configure("info", "json")
    root_logging.info("once")
    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["msg"] == "once"
