# SPDX-License-Identifier: Apache-2.0
"""An HTTP server that no number of clients can fill.

There is a limit of connections. At the limit a new one is not refused: it takes the
place of one that has been waiting longest without a request under way, of the address
that has most of them. So those who connect and say nothing lose to those who ask.
"""

import asyncio
import itertools
from collections import Counter
from typing import Any

from tornado.http1connection import HTTP1ServerConnection
from tornado.httpserver import HTTPServer
from tornado.iostream import IOStream

MAX_CONNECTIONS = 256
_WRITE_SECONDS = 30.0


class BoundedServer(HTTPServer):
    """A server with at most `MAX_CONNECTIONS` connections.

    Attributes:
        generation: the number of the policy that new connections come under.
    """

    # tornado makes its servers configurable: what a constructor would do is done here.
    def initialize(self, *args: Any, **kwargs: Any) -> None:
        """As HTTPServer, with nobody connected."""
        super().initialize(*args, **kwargs)
        self.generation = 0
        self._order = itertools.count()
        self._idle: dict[IOStream, tuple[int, str]] = {}
        self._busy: set[IOStream] = set()
        self._generations: dict[IOStream, int] = {}

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Take a connection, in the place of another perhaps."""
        while len(self._idle) + len(self._busy) >= MAX_CONNECTIONS:
            if not self._idle:
                stream.close()
                return
            oldest = self._oldest_of_the_most()
            self._forget(oldest)
            oldest.close()
        self._idle[stream] = next(self._order), str(address[0]) if address else ""
        self._generations[stream] = self.generation
        super().handle_stream(stream, address)

    def on_close(self, server_conn: object) -> None:
        """A connection has ended."""
        assert isinstance(server_conn, HTTP1ServerConnection)
        self._forget(server_conn.stream)
        super().on_close(server_conn)

    def begin(self, stream: IOStream) -> None:
        """A request of this connection is under way."""
        if self._idle.pop(stream, None) is not None:
            self._busy.add(stream)

    def end(self, stream: IOStream, peer: str) -> None:
        """It is answered, though the client may not have read that yet."""
        if stream not in self._busy:
            return
        self._busy.remove(stream)
        place = self._idle[stream] = next(self._order), peer
        if stream.writing():
            asyncio.get_running_loop().call_later(_WRITE_SECONDS, self._hang_up, stream, place)
        elif self._generations.get(stream) != self.generation:
            stream.close()

    def _hang_up(self, stream: IOStream, place: tuple[int, str]) -> None:
        """End a connection whose client has not read its answer up to now."""
        if self._idle.get(stream) == place and stream.writing():
            stream.close()

    def _forget(self, stream: IOStream) -> None:
        self._idle.pop(stream, None)
        self._busy.discard(stream)
        self._generations.pop(stream, None)

    def _oldest_of_the_most(self) -> IOStream:
        peers = Counter(peer for _, peer in self._idle.values())
        most = max(peers.values())
        return min(
            (order, stream) for stream, (order, peer) in self._idle.items() if peers[peer] == most
        )[1]
