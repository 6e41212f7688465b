# SPDX-License-Identifier: Apache-2.0
"""What the endpoint goes by, kept fresh: the web configuration and the files it names.

They are looked at every half second and read when they have changed and come to rest, so
a certificate and its key may be replaced one after the other. What cannot be followed is
kept out with one line in the log, and what was there before goes on.
"""

import asyncio
import logging
import os
import ssl
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from kvmexporter.errors import UsageError
from kvmexporter.views import tls, webconfig
from kvmexporter.views.webconfig import Look, RateLimit, WebConfig, look

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Policy:
    """What goes for new connections and requests.

    Attributes:
        config: what was written.
        context: what serves its TLS, None for plain HTTP.
    """

    config: WebConfig = field(default_factory=WebConfig)
    context: ssl.SSLContext | None = None


def load(path: Path | None) -> Policy:
    """Read a web configuration; None for one that says nothing.

    Raises:
        UsageError: it cannot be followed.
    """
    if path is None:
        return Policy()
    config = webconfig.load(path)
    try:
        context = tls.context(config.tls) if config.tls else None
    except UsageError as err:
        raise UsageError(f"{path}: tls_server_config: {err}") from err
    return Policy(config, context)


class Watch:
    """Looks at a policy's files and says when there is a new one.

    Args:
        path: the web configuration.
        policy: what was read at first.
        changed: is given each new one.
    """

    def __init__(self, path: Path, policy: Policy, changed: Callable[[Policy], None]) -> None:
        self._path = path
        self._policy = policy
        self._changed = changed
        self._trouble = ""
        self._wake = asyncio.Event()

    def hurry(self) -> None:
        """Read them again now, changed or not."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        seen = dict(self._policy.config.files)
        while True:
            try:
                await asyncio.wait_for(self._wake.wait(), _LOOK_SECONDS)
            except TimeoutError:
                followed = self._policy.config.files
                now = await asyncio.to_thread(_looks, tuple(followed))
                at_rest, seen = now == seen, now
                # What is in trouble may lack a file that nobody knows of here.
                if not self._trouble and (now == followed or not at_rest):
                    continue
            else:
                self._wake.clear()
            await self._read()

    async def _read(self) -> None:
        """Read, and tell who cares."""
        try:
            policy = await asyncio.to_thread(load, self._path)
        except UsageError as err:
            if str(err) != self._trouble:
                self._trouble = str(err)
                _log.error("web config kept out, the one before goes on", extra={"error": str(err)})
            return
        self._trouble = ""
        is_new = policy.config != self._policy.config
        self._policy = policy
        if is_new:
            _log.info("web config read again", extra={"path": str(self._path)})
            self._changed(policy)


def _looks(files: Iterable[Path]) -> dict[Path, Look]:
    """What each file looks like now; a link is followed."""
    found: dict[Path, Look] = {}
    for path in files:
        try:
            found[path] = look(os.stat(path))  # noqa: PTH116 - the same on every path
        except OSError as err:
            found[path] = (err.errno or 0,)
    return found


class Bucket:
    """A token bucket.

    Args:
        limit: how fast it fills and what it holds; None never runs dry.
        monotonic: seconds.
    """

    def __init__(
        self, limit: RateLimit | None, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._limit = limit
        self._monotonic = monotonic
        self._tokens = float(limit.burst) if limit else 0.0
        self._filled = monotonic()

    def take(self) -> bool:
        """Whether there was one."""
        if self._limit is None:
            return True
        now = self._monotonic()
        self._tokens += (now - self._filled) / self._limit.interval_seconds
        self._tokens = min(self._tokens, float(self._limit.burst))
        self._filled = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
