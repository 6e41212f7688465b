# SPDX-License-Identifier: Apache-2.0
"""A process that answers for many QEMUs, each on a QMP socket of its own, as one was recorded.

    python -m tests.bench.replies DIRECTORY FIRST LAST

makes `DIRECTORY/N.sock` for each N from FIRST to LAST and writes one line when all are there.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from tests.bench.recording import linux_guest
from tests.bench.tap import key_of, requests

_NOT_FOUND = {"error": {"class": "GenericError", "desc": "not in the recording"}}


def _line(message: object) -> bytes:
    return json.dumps(message).encode() + b"\r\n"


async def _client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    recording = linux_guest().replies
    version = recording["query-version"]["return"]
    writer.write(_line({"QMP": {"version": version, "capabilities": ["oob"]}}))
    try:
        async for request in requests(reader):
            writer.write(_line(_answer(request)))
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    key = key_of(request)
    reply = dict(linux_guest().replies.get(key, _NOT_FOUND))
    if key.startswith("qmp_capabilities"):
        reply = {"return": {}}
    if "id" in request:
        reply["id"] = request["id"]
    return reply


async def _serve(directory: Path, first: int, last: int) -> None:
    for number in range(first, last + 1):
        await asyncio.start_unix_server(_client, directory / f"{number}.sock")
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
