# SPDX-License-Identifier: Apache-2.0
"""The configuration file: every flag, as a key of a TOML file.

A key is a flag without its dashes: `--web.listen-address` is `listen-address` in the table
`[web]`. Where a flag is a table, too, `enabled` stands for the flag itself:
`--collector.exits` is `enabled` in `[collector.exits]`, or `exits = true` in `[collector]`.
One file serves all commands; each takes what it has a flag for. A flag goes before a
variable, a variable before the file, the file before the default.
"""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from kvmexporter.errors import UsageError
from kvmexporter.model.suggestion import did_you_mean

DEFAULT_PATH = Path("/etc/kvmexporter/kvmexporter.toml")
_ITSELF = "enabled"
_MAX_FILE_BYTES = 1 << 20
_NOT_SETTINGS = {"help", "version", "config.file"}


def read(path: Path) -> dict[str, Any]:
    """The settings of a file: flag without dashes → value, unchecked.

    Raises:
        UsageError: it cannot be read, or is no TOML.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
        if len(data) > _MAX_FILE_BYTES:
            raise UsageError(f"{path}: more than {_MAX_FILE_BYTES} bytes")
        return dict(_flat(tomllib.loads(data.decode()), ""))
    except OSError as err:
        raise UsageError(f"{path}: {err.strerror}") from err
    except (tomllib.TOMLDecodeError, UnicodeError) as err:
        raise UsageError(f"{path}: {err}") from err


def _flat(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        elif key == _ITSELF and prefix:
            yield prefix[:-1], value
        else:
            yield f"{prefix}{key}", value


def options(command: click.Command) -> dict[str, click.Option]:
    """The flags that a file may set, of a command and those below it: key → option."""
    found: dict[str, click.Option] = {}
    if isinstance(command, click.Group):
        for below in command.commands.values():
            found |= options(below)
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            key = parameter.opts[0].lstrip("-")
            if key not in _NOT_SETTINGS:
                found[key] = parameter
    return found


def checked(
    path: Path,
    settings: Mapping[str, Any],
    known: Mapping[str, click.Option],
    context: click.Context,
) -> dict[str, Any]:
    """Settings as the parameters of commands: parameter → value.

    Raises:
        UsageError: a key or a value is none; the message names the file and the key.
    """
    result = {}
    for key, value in settings.items():
        option = known.get(key)
        if option is None or option.name is None:
            raise UsageError(f"{path}: unknown key {key}{did_you_mean(key, known)}")
        wanted = _wanted(option)
        values = value if option.multiple and isinstance(value, list) else [value]
        if not all(_fits(one, wanted) for one in values):
            raise UsageError(f"{path}: {key} = {value!r} is not {wanted}")
        try:
            option.type_cast_value(context, values if option.multiple else value)
        except click.BadParameter as err:
            raise UsageError(f"{path}: {key}: {err.message}") from err
        result[option.name] = values if option.multiple else value
    return result


def _wanted(option: click.Option) -> str:
    if option.is_flag:
        return "true or false"
    if isinstance(option.type, click.types.IntParamType):
        return "a whole number"
    if isinstance(option.type, click.types.FloatParamType):
        return "a number"
    return "a text, or a list of texts" if option.multiple else "a text"


def _fits(value: object, wanted: str) -> bool:
    match wanted:
        case "true or false":
            return isinstance(value, bool)
        case "a whole number":
            return isinstance(value, int) and not isinstance(value, bool)
        case "a number":
            return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, str)


def take(context: click.Context, _parameter: click.Parameter, value: str | None) -> None:
    """What `--config.file` does: let the file speak where neither flag nor variable does."""
    if value is None:
        # What is there but may not be read is an error, not as if it were not there.
        if not _is_there(DEFAULT_PATH):
            return
        value = str(DEFAULT_PATH)
    path = Path(value)
    every = options(context.find_root().command)
    own = {parameter.name for parameter in context.command.params}
    found = checked(path, read(path), every, context)
    context.default_map = {name: one for name, one in found.items() if name in own}


def _is_there(path: Path) -> bool:
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return True
