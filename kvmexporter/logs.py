# SPDX-License-Identifier: Apache-2.0
"""Log lines as logfmt or JSON, on standard error."""

import datetime
import json
import logging
from collections.abc import Mapping

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
FORMATS = ("logfmt", "json")
LEVELS = ("debug", "info", "warn", "error")


def configure(level: str, form: str) -> None:
    """Send what is logged from `level` on to standard error.

    Args:
        level: one of LEVELS.
        form: one of FORMATS.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter(form))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel({"warn": "WARNING"}.get(level, level.upper()))
    # They name every client and every hang-up; ours tells what went wrong.
    for chatty in ("tornado.access", "qemu.qmp", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL)


class _Formatter(logging.Formatter):
    def __init__(self, form: str) -> None:
        super().__init__()
        self._encode = json.dumps if form == "json" else logfmt

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the message holds."""
        at = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
        fields: dict[str, object] = {
            "time": at.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower().replace("warning", "warn"),
            "logger": record.name,
            "msg": record.getMessage(),
        }
        fields |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return self._encode({key: _plain(value) for key, value in fields.items()})


def _plain(value: object) -> object:
    return value if isinstance(value, int | float | str | bool) else str(value)


def logfmt(fields: Mapping[str, object]) -> str:
    """`key=value` pairs; a value with anything but plain characters is quoted as in JSON."""
    return " ".join(f"{key}={_quoted(str(value))}" for key, value in fields.items())


def _quoted(value: str) -> str:
    if value and all(c.isprintable() and c not in ' "=\\' for c in value):
        return value
    return json.dumps(value)
