# SPDX-License-Identifier: Apache-2.0
"""A recorded QEMU that changes between visits."""

import asyncio
import copy
import json
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from kvmexporter.sources.qemu import QemuFacts, Visitor
from tests.bench.recording import linux_guest
from tests.unit.model.recorded import Recording
from tests.unit.sources.qmp_server import QmpServer

LINUX = Recording("7.2", "linux-guest", linux_guest().replies, frozenset())
"""A Linux guest with drivers for a NIC, a disk, a balloon, a serial port and an RNG."""

Replies = dict[str, Any]
Change = Callable[[Replies], None]


class ChangingQemu:
    """A QEMU behind a socket; what it answers can be changed from one visit to the next.

    Args:
        path: of the socket.
        recording: what it answers at first.

    Attributes:
        visitor: who asks; its clock is `now`.
        now: seconds.
    """

    def __init__(self, path: Path, recording: Recording) -> None:
        self.now = 1000.0
        self.visitor = Visitor(monotonic=lambda: self.now)
        self.replies: Replies = dict(copy.deepcopy(recording.replies))
        self.server = QmpServer(path, recording, self._answer)

    def visit(self, known: QemuFacts | None = None) -> tuple[QemuFacts, list[str]]:
        """What a visit finds, and what it asked."""
        self.server.asked.clear()
        facts = asyncio.run(self.visitor.visit(self.server.path, 10.0, known))
        return facts, self.server.asked[1:]  # the first negotiates

    def becomes(self, recording: Recording) -> None:
        """Have it answer as another that was recorded."""
        self.replies = dict(copy.deepcopy(recording.replies))

    def _answer(self, key: str, line: bytes) -> Iterable[bytes]:
        reply = json.loads(line)
        if key != "greeting" and not key.startswith("qmp_capabilities"):
            missing = {"error": {"class": "GenericError", "desc": "there is none"}}
            reply = {**self.replies.get(key, missing), "id": reply["id"]}
        yield json.dumps(reply).encode() + b"\r\n"


def timeless(facts: QemuFacts) -> QemuFacts:
    """The facts without how far the RTC is from the host's clock, which goes on."""
    return replace(facts, rtc=facts.rtc and replace(facts.rtc, offset_ns=0, uncertainty_ns=0))
