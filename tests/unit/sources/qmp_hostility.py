# SPDX-License-Identifier: Apache-2.0
"""What a hostile VMM may do instead of answering as a QMP server does."""

import json
import time
from collections.abc import Iterable

from tests.unit.sources.qmp_server import Answer, HangError, LeaveError

MTREE = "info mtree -f -o"


def silent(at: str) -> Answer:
    """Never answer one command."""

    def answer(key: str, line: bytes) -> Iterable[bytes]:
        if key == at:
            raise HangError
        yield line

    return answer


def _raw(at: str, *pieces: bytes, then: type[Exception] | None = None) -> Answer:
    def answer(key: str, line: bytes) -> Iterable[bytes]:
        if key != at:
            yield line
            return
        yield from pieces
        if then:
            raise then

    return answer


def _half(at: str, then: type[Exception]) -> Answer:
    def answer(key: str, line: bytes) -> Iterable[bytes]:
        if key != at:
            yield line
            return
        yield line[: len(line) // 2]
        raise then

    return answer


def _twice(_key: str, line: bytes) -> Iterable[bytes]:
    yield line
    yield line


def _slowly(_key: str, line: bytes) -> Iterable[bytes]:
    for byte in line:
        time.sleep(0.05)
        yield bytes([byte])


_STEPS = ("greeting", "qmp_capabilities", "query-version", MTREE, 'query-stats {"target":"vm"}')

HOSTILE = {
    **{f"silent at {step}": silent(step) for step in _STEPS},
    **{f"closes in {step}": _half(step, LeaveError) for step in _STEPS},
    **{f"stops in {step}": _half(step, HangError) for step in _STEPS},
    "closes at once": _raw("greeting", then=LeaveError),
    "byte by byte": _slowly,
    "everything twice": _twice,
    "empty lines": _raw("query-version", b"\n" * 1000, then=HangError),
    "broken JSON": _raw("query-version", b'{"return": ,}\n', then=HangError),
    "no UTF-8": _raw("query-version", b'{"return": "\xff\xfe"}\n', then=HangError),
    "a list": _raw("query-version", b"[1, 2]\n", then=HangError),
    "a string": _raw("greeting", b'"QMP"\n', then=HangError),
    "NUL bytes": _raw("query-version", bytes(4096) + b"\n", then=HangError),
    "deeply nested": _raw("query-version", b"[" * 1_000_000 + b"\n", then=HangError),
    "a long number": _raw("query-version", b'{"return": ' + b"9" * 5000 + b"}\n", then=HangError),
    "an error without an id": _raw("query-version", b'{"error": {"class": "x", "desc": "y"}}\n'),
    "an answer to nobody": _raw("query-version", b'{"return": {}, "id": "x"}\n', then=HangError),
    "an id that is a list": _raw("query-version", b'{"return": {}, "id": []}\n', then=HangError),
    "an HTTP server": _raw("greeting", b"HTTP/1.1 400 Bad Request\r\n\r\n", then=LeaveError),
    "another greeting": _raw("greeting", b'{"QMP": 5}\n', then=HangError),
    "an error of control characters": _raw(
        "greeting", b'{"error": {"class": "\\n\\u001b[31m", "desc": "' + b"x" * 10_000 + b'"}}\n'
    ),
}


def flood(events: int, size: int = 10) -> Answer:
    """Send events before an answer."""
    event = json.dumps(
        {"event": "E", "data": {"x": "y" * size}, "timestamp": {"seconds": 1, "microseconds": 2}}
    ).encode()
    block = (event + b"\n") * 100

    def answer(key: str, line: bytes) -> Iterable[bytes]:
        if key == MTREE:
            for _ in range(events // 100):
                yield block
        yield line

    return answer


def _nested(depth: int, width: int) -> bytes:
    return b'{"return": ' + b"[" * depth + b"1," * width + b"1" + b"]" * depth + b', "id": "x"}\n'


LARGE = {
    "100 MiB in a line": _raw("query-version", *[b"x" * (1 << 16)] * 1600, then=HangError),
    "100 MiB of JSON": _raw(
        MTREE, b'{"return": "', *[b"x" * (1 << 16)] * 1600, b'"}\n', then=HangError
    ),
    "100 MiB of lines": _raw("query-version", *[_nested(1, 30_000)] * 1600, then=HangError),
    "100,000 events": flood(100_000),
    "large events": flood(5000, 20_000),
    "a narrow and deep list": _raw("query-version", _nested(900, 400_000), then=HangError),
    "a narrow and deep list for nobody": _raw(MTREE, _nested(900, 400_000), then=HangError),
    "a deep list at the top": _raw("query-version", _nested(900, 9)[11:-12] + b"\n" * 3),
}
