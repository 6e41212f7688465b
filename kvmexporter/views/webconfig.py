# SPDX-License-Identifier: Apache-2.0
"""The file of `--web.config.file`: TLS, users, headers, a limit of requests.

The format is the one that Prometheus' exporters share (exporter-toolkit, "Web
configuration"). Every key is known or an error; what cannot be served here is an error,
too, never silently something else. Paths in it are relative to it.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from kvmexporter.errors import UsageError
from kvmexporter.model.suggestion import did_you_mean
from kvmexporter.views.tls import Tls

HEADERS = (
    "Content-Security-Policy",
    "Strict-Transport-Security",
    "X-Content-Type-Options",
    "X-Frame-Options",
    "X-XSS-Protection",
)
T = TypeVar("T")
Look = tuple[int, ...]

_MAX_FILE_BYTES = 1 << 20
_MAX_USERS = 1000
_MIN_COST = 4
_MAX_COST = 16
_BCRYPT = re.compile(r"\$2[abxy]\$(\d\d)\$[./A-Za-z0-9]{53}")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_TLS_KEYS = (
    *("cert", "key", "client_ca", "cert_file", "key_file", "client_ca_file", "client_auth_type"),
    *("client_allowed_sans", "min_version", "max_version", "cipher_suites"),
    *("prefer_server_cipher_suites", "curve_preferences"),
)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A token bucket: one request each `interval_seconds`, `burst` at once."""

    interval_seconds: float
    burst: int


@dataclass(frozen=True, slots=True)
class WebConfig:
    """What a web configuration says, all files read.

    Attributes:
        tls: None for plain HTTP.
        users: name → bcrypt hash; everybody if empty.
        headers: name → value, of every answer.
        rate_limit: None for none.
        files: every file that was read → what it looked like then, the configuration first.
    """

    tls: Tls | None = None
    users: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    rate_limit: RateLimit | None = None
    files: Mapping[Path, Look] = field(default_factory=dict, compare=False)


def look(status: os.stat_result) -> Look:
    """What changes when a file does."""
    return (
        *(status.st_dev, status.st_ino, status.st_size),
        *(status.st_mtime_ns, status.st_ctime_ns),
    )


def load(path: Path) -> WebConfig:
    """Read it and the files it names.

    Raises:
        UsageError: it cannot be read or followed; the message names the file and the key.
    """
    files = _Files(path)
    content = _yaml(path, files.text(Path(path.name)))
    try:
        return _config(content, files)
    except UsageError as err:
        raise UsageError(f"{path}: {err}") from err


def _yaml(path: Path, text: str) -> object:
    import yaml  # who has no such file does without its memory

    class Loader(yaml.SafeLoader):
        """As safe, and strict about a key that is there twice."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            mapping = super().construct_mapping(node, deep)
            if len(mapping) != len(node.value):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key is there twice", node.start_mark
                )
            return mapping

    try:
        return yaml.load(text, Loader)  # noqa: S506 - a safe loader's child
    except yaml.YAMLError as err:
        mark = getattr(err, "problem_mark", None)
        line = f"line {mark.line + 1}: " if mark else ""
        raise UsageError(f"{path}: {line}{getattr(err, 'problem', None) or 'not YAML'}") from err


class _Files:
    """Reads files and remembers which."""

    def __init__(self, base: Path) -> None:
        self._directory = base.parent
        self.read: dict[Path, Look] = {}

    def text(self, name: Path) -> str:
        path = self._directory / name
        where = f"{path}: "
        try:
            with path.open("rb") as file:
                self.read[path] = look(os.fstat(file.fileno()))
                data = file.read(_MAX_FILE_BYTES + 1)
            text = data.decode()
        except OSError as err:
            raise UsageError(f"{where}{err.strerror}") from err
        except UnicodeError as err:
            raise UsageError(f"{where}not text") from err
        if len(data) > _MAX_FILE_BYTES:
            raise UsageError(f"{where}more than {_MAX_FILE_BYTES} bytes")
        return text


def _config(content: object, files: _Files) -> WebConfig:
    top = _section(
        content, "", ("tls_server_config", "http_server_config", "basic_auth_users", "rate_limit")
    )
    tls = top.get("tls_server_config")
    http = _section(top.get("http_server_config"), "http_server_config.", ("http2", "headers"))
    _typed(http, "http_server_config.http2", bool, True)
    return WebConfig(
        tls=None if tls is None else _tls(tls, files),
        users=_users(top.get("basic_auth_users")),
        headers=_headers(http.get("headers")),
        rate_limit=_rate_limit(top.get("rate_limit")),
        files=files.read,
    )


def _section(content: object, prefix: str, known: tuple[str, ...]) -> dict[str, Any]:
    """A mapping of known keys."""
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(f"{prefix.rstrip('.') or 'it'} is not a mapping of keys to values")
    for key in content:
        if key not in known:
            raise UsageError(f"unknown key {prefix}{key}{did_you_mean(str(key), known)}")
    return content


def _typed(section: Mapping[str, Any], name: str, kind: type[T], default: T) -> T:
    value = section.get(name.rpartition(".")[2])
    if value is None:
        return default
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        wanted = {bool: "true or false", str: "text", list: "a list", int: "a number"}[kind]
        raise UsageError(f"{name} is not {wanted}")
    return value


def _texts(section: Mapping[str, Any], name: str) -> tuple[str, ...]:
    values = _typed(section, name, list, [])
    if not all(isinstance(value, str) for value in values):
        raise UsageError(f"{name} is not a list of texts")
    return tuple(values)


def _tls(content: object, files: _Files) -> Tls | None:
    prefix = "tls_server_config."
    section = _section(content, prefix, _TLS_KEYS)
    if not section:
        return None

    def pem(key: str, required: bool) -> str:
        inline = _typed(section, prefix + key, str, "")
        named = _typed(section, f"{prefix}{key}_file", str, "")
        if inline and named:
            raise UsageError(f"{prefix}{key} and {key}_file exclude each other")
        if required and not (inline or named):
            raise UsageError(f"{prefix}{key}_file is missing")
        try:
            return files.text(Path(named)) if named else inline
        except UsageError as err:
            raise UsageError(f"{prefix}{key}_file: {err}") from err

    return Tls(
        certificate=pem("cert", True),
        key=pem("key", True),
        client_ca=pem("client_ca", False),
        client_auth=_typed(section, prefix + "client_auth_type", str, "") or "NoClientCert",
        allowed_sans=_texts(section, prefix + "client_allowed_sans"),
        versions=(
            _typed(section, prefix + "min_version", str, "TLS12"),
            _typed(section, prefix + "max_version", str, "TLS13"),
        ),
        cipher_suites=_texts(section, prefix + "cipher_suites"),
        prefer_server=_typed(section, prefix + "prefer_server_cipher_suites", bool, True),
        curves=_texts(section, prefix + "curve_preferences"),
    )


def _users(content: object) -> dict[str, str]:
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError("basic_auth_users is not a mapping of names to hashes")
    if len(content) > _MAX_USERS:
        raise UsageError(f"basic_auth_users: more than {_MAX_USERS}")
    for name, password_hash in content.items():
        if not isinstance(name, str) or ":" in name or not name:
            raise UsageError(f"basic_auth_users: {name!r} cannot be a user's name")
        found = isinstance(password_hash, str) and _BCRYPT.fullmatch(password_hash)
        if not found:  # never shown: it may be a password
            raise UsageError(
                f"basic_auth_users.{name} is not a bcrypt hash: "
                f"make one with htpasswd -nBC 10 {name}"
            )
        if not _MIN_COST <= int(found[1]) <= _MAX_COST:
            raise UsageError(
                f"basic_auth_users.{name}: a cost of {found[1]} is not {_MIN_COST} to {_MAX_COST}"
            )
    return dict(content)


def _headers(content: object) -> dict[str, str]:
    section = _section(content, "http_server_config.headers.", HEADERS)
    headers = {}
    for name in section:
        value = _typed(section, f"http_server_config.headers.{name}", str, "")
        if not value.isprintable() or not value.isascii():
            raise UsageError(f"http_server_config.headers.{name} has what no header can have")
        if name == "X-Frame-Options" and value.lower() not in ("", "deny", "sameorigin"):
            raise UsageError(f"http_server_config.headers.{name} is neither deny nor sameorigin")
        if name == "X-Content-Type-Options" and value.lower() not in ("", "nosniff"):
            raise UsageError(f"http_server_config.headers.{name} is not nosniff")
        if value:
            headers[name] = value
    return headers


def _rate_limit(content: object) -> RateLimit | None:
    section = _section(content, "rate_limit.", ("interval", "burst"))
    text = str(section.get("interval", 0))
    parts = _DURATION.findall(text)
    if text != "0" and "".join(number + unit for number, unit in parts) != text:
        raise UsageError(f"rate_limit.interval {text!r} is not a duration such as 100ms or 1s")
    interval = sum(float(number) * _UNIT_SECONDS[unit] for number, unit in parts)
    burst = _typed(section, "rate_limit.burst", int, 1)
    if burst < 1:
        raise UsageError(f"rate_limit.burst {burst} lets nobody in")
    return RateLimit(interval, burst) if interval else None
