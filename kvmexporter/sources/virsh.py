# SPDX-License-Identifier: Apache-2.0
"""QMP through libvirt: the monitor pass-through of its domains (`virsh qemu-monitor-command`).

libvirt's own monitor is libvirt's; whoever wants to ask a domain's QEMU asks libvirt. That changes
the domain's record: libvirt marks it as tainted (`custom-monitor`) and says so in its log, which
is why users have to turn it on.

One virsh runs for a whole visit and takes the commands from its standard input, since starting it
costs as much as twenty questions. It needs to be root, or whoever else libvirt lets manage domains.
"""

import asyncio
import itertools
import json
import os
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from kvmexporter.model.vm import bounded_name
from kvmexporter.sources.qmp import (
    ANSWER_SECONDS,
    MAX_REPLY_BYTES,
    NOT_QEMU,
    DomainMonitor,
    Monitor,
    QmpError,
    Refused,
)

T = TypeVar("T")


_URI = "qemu:///system"
_MAX_COMPLAINT_BYTES = 4096
_MAX_LINES = 64
# The terminal's own codes, translations and a history of commands are of no use here.
_ENVIRONMENT = {"TERM": "dumb", "LC_ALL": "C", "VIRSH_HISTSIZE": "0", "INPUTRC": "/dev/null"}


async def ask(
    monitor: DomainMonitor,
    deadline_seconds: float,
    questions: Callable[[Monitor], Awaitable[T]],
    program: str = "virsh",
) -> T:
    """Ask a domain's QEMU through libvirt.

    Args:
        monitor: the domain's.
        deadline_seconds: for the whole conversation; a single answer has `ANSWER_SECONDS`.
        questions: what to ask.
        program: virsh.

    Raises:
        QmpError: there is no answer in time, or none that makes sense.
    """
    where = f"virsh for {monitor.uuid}"
    process = None
    deadline = asyncio.get_running_loop().time() + deadline_seconds
    try:
        async with asyncio.timeout_at(deadline):
            process = await asyncio.create_subprocess_exec(
                program, "--quiet", "--connect", _URI,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE, limit=MAX_REPLY_BYTES,
                env={**os.environ, **_ENVIRONMENT},
            )  # fmt: skip
            return await questions(_Virsh(process, monitor.uuid))
    except TimeoutError as err:
        over = asyncio.get_running_loop().time() >= deadline
        seconds = deadline_seconds if over else ANSWER_SECONDS
        raise QmpError(f"{where}: no answer in {seconds:g} s") from err
    except FileNotFoundError as err:
        raise QmpError(f"{where}: no {program} here; install libvirt's clients") from err
    except Refused as err:
        raise QmpError(f"{where}: {err}") from err
    except OSError as err:
        raise QmpError(f"{where}: {bounded_name(str(err))}") from err
    except NOT_QEMU as err:
        raise QmpError(f"{where}: an answer that is not QEMU's ({type(err).__name__})") from err
    finally:
        if process:
            await _end(process)


class _Virsh:
    """A monitor behind a virsh that reads commands."""

    def __init__(self, process: asyncio.subprocess.Process, uuid: str) -> None:
        self._process = process
        self._uuid = uuid
        self._numbers = itertools.count(1)
        self._turn = asyncio.Lock()  # it takes one command at a time
        if not process.stdin or not process.stdout or not process.stderr:
            raise QmpError("virsh without its streams")
        self._stdin, self._stdout = process.stdin, process.stdout
        self._stderr = process.stderr

    async def execute(self, command: str, arguments: Mapping[str, object] | None = None) -> object:
        """Run a command, as `Monitor` says."""
        request: dict[str, object] = {"execute": command}
        if arguments:
            request["arguments"] = dict(arguments)
        # Between single quotes, where nothing but another one means anything to virsh.
        text = json.dumps(request).replace("'", r"\u0027")
        mark = f"kvmexporter-{next(self._numbers)}."
        async with self._turn, asyncio.timeout(ANSWER_SECONDS):
            self._stdin.write(
                f"qemu-monitor-command --domain {self._uuid} --cmd '{text}'\n"
                f"echo --str {mark}\n".encode()
            )
            await self._stdin.drain()
            line = await self._reply(mark)
        if line is None:
            raise QmpError(f"virsh: {await self._complaint()}")
        reply = json.loads(line)
        if "error" in reply:
            error = reply["error"]
            raise Refused(bounded_name(str(error["desc"])))
        returned: object = reply["return"]
        return returned

    async def _reply(self, mark: str) -> bytes | None:
        """The line that QEMU answered, None if virsh came to the mark without one.

        Around it are virsh's prompt and, by its line editor, what it was given.
        """
        reply = None
        for _ in range(_MAX_LINES):
            line = await self._stdout.readline()
            if not line:
                return reply
            if line.startswith(b"{"):
                reply = line
            elif mark.encode() in line:
                return reply
        raise QmpError("virsh talks too much")

    async def _complaint(self) -> str:
        """What virsh says was wrong."""
        try:
            async with asyncio.timeout(0.2):
                said = await self._stderr.read(_MAX_COMPLAINT_BYTES)
        except TimeoutError:
            said = b""
        text = said.decode(errors="replace").replace("error: ", "").strip()
        return bounded_name(" ".join(text.split())) or "it has ended"


async def _end(process: asyncio.subprocess.Process) -> None:
    """End virsh, whatever it is doing, and wait until it has gone."""
    if process.returncode is None:
        try:
            process.kill()
        except ProcessLookupError:
            return
    await process.wait()
