# SPDX-License-Identifier: Apache-2.0
"""What flags may be set to, beyond click's own types: the same from a flag, a variable and a file.

A value that cannot be is found while it is read, by `config check` as by every command.
"""

import pwd
import shutil
from collections.abc import Callable
from typing import Any

import click

from kvmexporter.errors import UsageError
from kvmexporter.model.ignored import Ignored, parse_ignored
from kvmexporter.model.rules import RULES


class Parsed(click.ParamType):  # type: ignore[type-arg] # a class without arguments before click 8.5
    """The type of a flag whose text means something else.

    Args:
        parse: what makes it of the text; raises UsageError if it cannot be made.
    """

    name = "text"

    def __init__(self, parse: Callable[[str], Any]) -> None:
        self._parse = parse

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """What the text means."""
        try:
            return self._parse(value) if isinstance(value, str) else value
        except UsageError as err:
            self.fail(str(err), param, ctx)


def account(text: str) -> pwd.struct_passwd:
    """The account of a user's name or number.

    Raises:
        UsageError: there is none.
    """
    try:
        return pwd.getpwuid(int(text)) if text.isdecimal() else pwd.getpwnam(text)
    except (KeyError, OverflowError, ValueError) as err:
        raise UsageError(f"{text}: no such user") from err


def interpreter(text: str) -> str:
    """A program, by its path or by the name that it has on $PATH.

    Raises:
        UsageError: there is none that can be run.
    """
    if not shutil.which(text):
        raise UsageError(f"{text}: there is no such program")
    return text


def ignored(text: str) -> Ignored:
    """`RULE`, or `RULE:VM`.

    Raises:
        UsageError: there is no such rule, or no VM after the colon.
    """
    return parse_ignored(text, RULES)


def address(text: str) -> Any:
    """Where to listen, as `listening` has it.

    Raises:
        UsageError: the text is no address.
    """
    from kvmexporter.views import listening

    return listening.parse_address(text)


def telemetry_path(text: str) -> str:
    """Where the metrics are.

    Raises:
        UsageError: they cannot be there.
    """
    from kvmexporter.views import http

    return http.parse_telemetry_path(text)
