# SPDX-License-Identifier: Apache-2.0
"""The HTTP endpoint: `/metrics`, the page at `/`, health and readiness.

Requests are read by tornado's event loop, so a slow client holds up nobody; sampling and
rendering run in threads beside it, shared by all who ask at the same time. Everything
that a client may take its time over has a limit: connections, headers, the wait for a
request, the wait until an answer is read.
"""

import asyncio
import re
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client.exposition import gzip_accepted
from tornado.iostream import IOStream, StreamClosedError
from tornado.web import Application, RequestHandler

from kvmexporter.errors import UsageError
from kvmexporter.sampler import Sampler
from kvmexporter.views import assets, exposition, tls
from kvmexporter.views.auth import Authenticator, Verdict
from kvmexporter.views.connections import BoundedServer
from kvmexporter.views.policy import Bucket, Policy, Watch
from kvmexporter.views.scrapes import Scrapes

if TYPE_CHECKING:
    from kvmexporter.views.page import Page

_HEADER_TIMEOUT_SECONDS = 10.0
_MAX_HEADER_BYTES = 16 * 1024
_MAX_BODY_BYTES = 0
_READ_CHUNK_BYTES = 16 * 1024
_HEALTHY, _READY = "/-/healthy", "/-/ready"
_RESERVED = {_HEALTHY, _READY, *assets.SERVED}
# No inline style or script, nothing from elsewhere, nothing to send anywhere.
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def parse_telemetry_path(text: str) -> str:
    """Where the metrics are to be: at a path of their own, or at `/` in place of the page.

    Raises:
        UsageError: it is no path, or another page's.
    """
    if not text.startswith("/"):
        raise UsageError(f"{text!r} does not begin with /")
    if text in _RESERVED:
        raise UsageError(f"{text!r} is another page's: choose a path of the metrics' own")
    return text


class _Endpoint:
    """What all requests share."""

    def __init__(self, sampler: Sampler, policy: Policy, telemetry_path: str) -> None:
        self.telemetry_path = telemetry_path
        self.sampler = sampler
        self.scrapes = Scrapes()
        self.authenticator = Authenticator()
        self.server: BoundedServer
        self.follow(policy)

    @cached_property
    def page(self) -> "Page":
        """The page at `/`; who is only ever scraped does not pay for its megabyte."""
        from kvmexporter.views.page import Page

        return Page(self.telemetry_path)

    def follow(self, policy: Policy) -> None:
        """From now on."""
        self.policy = policy
        self.bucket = Bucket(policy.config.rate_limit)

    def change(self, policy: Policy) -> None:
        """From now on, with connections that came before ended after their request."""
        self.follow(policy)
        self.server.ssl_options = policy.context
        self.server.generation += 1

    def close(self) -> None:
        """After the samplings under way."""
        self.authenticator.close()
        self.scrapes.close()


class _Handler(RequestHandler):
    """What all pages share: who may ask, and error pages that give nothing away."""

    SUPPORTED_METHODS = ("GET", "HEAD")

    @property
    def _endpoint(self) -> _Endpoint:
        endpoint: _Endpoint = self.settings["endpoint"]
        return endpoint

    @property
    def _stream(self) -> IOStream:
        stream: IOStream = self.request.connection.stream  # type: ignore[union-attr] # always set
        return stream

    async def prepare(self) -> None:
        """Let in who may come in."""
        self._endpoint.server.begin(self._stream)
        refusal = await self._refusal()
        if refusal:
            self.send_error(refusal)

    async def _refusal(self) -> HTTPStatus | None:
        endpoint = self._endpoint
        config = endpoint.policy.config
        if not endpoint.bucket.take():
            return HTTPStatus.TOO_MANY_REQUESTS
        if config.tls and config.tls.allowed_sans:
            peer = self.request.get_ssl_certificate()
            if not isinstance(peer, dict) or not tls.is_allowed(peer, config.tls.allowed_sans):
                return HTTPStatus.FORBIDDEN
        if config.users:
            header = self.request.headers.get("Authorization", "")
            peer_address = self.request.remote_ip or ""
            match await endpoint.authenticator.verify(config.users, header, peer_address):
                case Verdict.NO:
                    return HTTPStatus.UNAUTHORIZED
                case Verdict.BUSY:
                    return HTTPStatus.SERVICE_UNAVAILABLE
        return None

    def on_finish(self) -> None:
        """Its connection may be somebody else's place now."""
        self._endpoint.server.end(self._stream, self.request.remote_ip or "")

    def set_default_headers(self) -> None:
        self.clear_header("Server")
        self.set_header("X-Content-Type-Options", "nosniff")
        for name, value in self._endpoint.policy.config.headers.items():
            self.set_header(name, value)

    def write_error(self, status_code: int, **_: Any) -> None:
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        match status_code:
            case HTTPStatus.UNAUTHORIZED:
                self.set_header("WWW-Authenticate", 'Basic realm="kvmexporter", charset="UTF-8"')
            case HTTPStatus.METHOD_NOT_ALLOWED:
                self.set_header("Allow", ", ".join(self.SUPPORTED_METHODS))
            case HTTPStatus.TOO_MANY_REQUESTS | HTTPStatus.SERVICE_UNAVAILABLE:
                self.set_header("Retry-After", "1")
        self.finish(f"{status_code} {HTTPStatus(status_code).phrase}\n")

    async def head(self) -> None:
        await self.get()

    async def get(self) -> None:
        raise NotImplementedError

    def log_exception(self, kind: Any, error: Any, traceback: Any) -> None:
        if not isinstance(error, StreamClosedError):  # a client that left is no error of ours
            super().log_exception(kind, error, traceback)


class _Metrics(_Handler):
    async def get(self) -> None:
        """The metrics, in the format and encoding that the client accepts."""
        encoding = exposition.choose(self.request.headers.get("Accept", ""))
        compress = gzip_accepted(self.request.headers.get("Accept-Encoding", ""))
        sampler = self._endpoint.sampler

        body = await self._endpoint.scrapes.answer(
            (encoding.content_type, compress),
            lambda: exposition.scrape(sampler, encoding, compress=compress),
        )
        self.set_header("Content-Type", encoding.content_type)
        self.set_header("Vary", "Accept, Accept-Encoding")
        if compress:
            self.set_header("Content-Encoding", "gzip")
        await self.finish(body)


class _Page(_Handler):
    async def get(self) -> None:
        """The page."""
        live, sampler = self._endpoint.page, self._endpoint.sampler
        body = live.recent()
        if body is None:
            body = await self._endpoint.scrapes.answer(
                "page", lambda: live.draw(sampler.snapshot())
            )
        self.set_header("Content-Security-Policy", PAGE_POLICY)
        self.set_header("Referrer-Policy", "no-referrer")
        self.set_header("Cache-Control", "no-store")
        await self.finish(body)


class _Asset(_Handler):
    async def get(self) -> None:
        """A file that the page is made of."""
        name, content_type = assets.SERVED[self.request.path]
        self.set_header("Content-Type", content_type)
        await self.finish(assets.read(name))


class _Healthy(_Handler):
    async def get(self) -> None:
        """The process answers."""
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        await self.finish("kvmexporter is healthy\n")


class _Ready(_Handler):
    async def get(self) -> None:
        """It can sample."""
        sampler = self._endpoint.sampler
        await self._endpoint.scrapes.answer("ready", lambda: sampler.stream(lambda _: None))
        self.set_header("Content-Type", "text/plain; charset=utf-8")
        await self.finish("kvmexporter is ready\n")


class _NotFound(_Handler):
    async def get(self) -> None:
        """No such page."""
        self.send_error(HTTPStatus.NOT_FOUND)


def serve(
    sockets: Sequence[socket.socket],
    sampler: Sampler,
    telemetry_path: str,
    started: Callable[[], None] = lambda: None,
    web_config: tuple[Path, Policy] | None = None,
) -> None:
    """Answer requests until SIGTERM or SIGINT; a request under way is finished first.

    Args:
        sockets: listening.
        sampler: what is sampled.
        telemetry_path: where the metrics are.
        started: called when requests are answered.
        web_config: the file of the policy, and what was read there; it is read again when it
            changes, and on SIGHUP. None for plain HTTP and everybody.
    """
    asyncio.run(_serve(sockets, sampler, telemetry_path, started, web_config))


async def _serve(
    sockets: Sequence[socket.socket],
    sampler: Sampler,
    telemetry_path: str,
    started: Callable[[], None],
    web_config: tuple[Path, Policy] | None,
) -> None:
    policy = web_config[1] if web_config else Policy()
    endpoint = _Endpoint(sampler, policy, telemetry_path)
    try:
        server = endpoint.server = BoundedServer(
            _application(endpoint),
            ssl_options=policy.context,
            idle_connection_timeout=_HEADER_TIMEOUT_SECONDS,
            max_header_size=_MAX_HEADER_BYTES,
            max_body_size=_MAX_BODY_BYTES,
            chunk_size=_READ_CHUNK_BYTES,
            max_buffer_size=2 * _MAX_HEADER_BYTES,
        )
        server.add_sockets(sockets)
        watch = Watch(web_config[0], policy, endpoint.change) if web_config else None
        watching = asyncio.create_task(watch.run()) if watch else None
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.add_signal_handler(signal.SIGHUP, watch.hurry if watch else lambda: None)
        started()
        await stop.wait()
        server.stop()
        if watching:
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
        await server.close_all_connections()
    finally:
        endpoint.close()


def _application(endpoint: _Endpoint) -> Application:
    telemetry_path = endpoint.telemetry_path
    routes: list[Any] = [
        (re.escape(telemetry_path), _Metrics),
        (_HEALTHY, _Healthy),
        (_READY, _Ready),
    ]
    if telemetry_path != "/":
        routes.append((r"/", _Page))
        routes += [(re.escape(path), _Asset) for path in assets.SERVED]
    return Application(routes, default_handler_class=_NotFound, endpoint=endpoint)
