# SPDX-License-Identifier: Apache-2.0
"""Who may ask: basic authentication against bcrypt hashes.

A hash costs tens of milliseconds of processor by design, and whoever can connect can ask
for one. So: hashes are computed in one thread that does nothing else, each peer has few
of them waiting at a time, the same question is computed once however often it is asked,
and what was verified is remembered, by a digest under a key of this process alone. An
unknown user costs what a known one does.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
from collections import Counter, OrderedDict
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import Enum, auto

_MAX_REMEMBERED = 1024
_MAX_WAITING_PER_PEER = 4
_MAX_WAITING = 32
_MAX_HEADER = 1024
_MAX_PASSWORD_BYTES = 72  # what bcrypt looks at
_COST = slice(4, 6)


class Verdict(Enum):
    """What came of it."""

    YES = auto()
    NO = auto()
    BUSY = auto()


def credentials(header: str) -> tuple[str, bytes] | None:
    """User and password of an `Authorization` header; None if it has none."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic" or len(encoded) > _MAX_HEADER:
        return None
    try:
        user, separator, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
        return (user.decode(), password) if separator else None
    except (binascii.Error, UnicodeError):
        return None


class Authenticator:
    """Verifies passwords; belongs to one event loop."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._thread = ThreadPoolExecutor(1, "bcrypt")
        self._verified: OrderedDict[bytes, None] = OrderedDict()
        self._under_way: dict[bytes, asyncio.Future[bool]] = {}
        self._waiting: Counter[str] = Counter()
        self._nobody: dict[str, str] = {}

    def close(self) -> None:
        """Give up what waits."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def verify(self, users: Mapping[str, str], header: str, peer: str) -> Verdict:
        """Whether an `Authorization` header names a user and has its password.

        Args:
            users: name → bcrypt hash, at least one.
            header: "" if there is none.
            peer: who asks, an address.
        """
        given = credentials(header)
        if given is None:
            return Verdict.NO
        user, password = given
        password = password[:_MAX_PASSWORD_BYTES]
        is_known = user in users and b"\0" not in password
        expected = users[user] if is_known else self._hash_of_nobody(users)
        question = self._digest(user.encode(), expected.encode(), password)
        if is_known and question in self._verified:
            self._verified.move_to_end(question)
            return Verdict.YES
        answer = self._under_way.get(question)
        if answer is None:
            if (
                self._waiting[peer] >= _MAX_WAITING_PER_PEER
                or self._waiting.total() >= _MAX_WAITING
            ):
                return Verdict.BUSY
            self._waiting[peer] += 1
            answer = asyncio.ensure_future(self._compute(question, password, expected, peer))
            self._under_way[question] = answer
        # Who leaves does not take the answer from the others who wait for it.
        matches = await asyncio.shield(answer)
        if not (matches and is_known):
            return Verdict.NO
        self._verified[question] = None
        while len(self._verified) > _MAX_REMEMBERED:
            self._verified.popitem(last=False)
        return Verdict.YES

    async def _compute(self, question: bytes, password: bytes, expected: str, peer: str) -> bool:
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(
                self._thread, _matches, password.replace(b"\0", b" "), expected.encode()
            )
        finally:
            del self._under_way[question]
            self._waiting[peer] -= 1
            if not self._waiting[peer]:
                del self._waiting[peer]

    def _digest(self, *parts: bytes) -> bytes:
        framed = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return hmac.digest(self._key, framed, hashlib.sha256)

    def _hash_of_nobody(self, users: Mapping[str, str]) -> str:
        """A hash that no password has, as dear as the dearest of the users."""
        cost = max(one[_COST] for one in users.values())
        if cost not in self._nobody:
            salt = secrets.token_hex(11)
            digest = secrets.token_hex(16)[:31]
            self._nobody[cost] = f"$2b${cost}${salt[:21]}.{digest}"
        return self._nobody[cost]


def _matches(password: bytes, expected: bytes) -> bool:
    import bcrypt  # who has no users does without its memory

    # The same algorithm under the names of two implementations; the library knows one of them.
    if expected[:4] in (b"$2y$", b"$2x$"):
        expected = b"$2b$" + expected[4:]
    return bcrypt.checkpw(password, expected)
