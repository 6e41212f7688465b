# SPDX-License-Identifier: Apache-2.0
"""Where the endpoint listens: addresses of its own, or sockets that systemd hands over."""

import os
import socket
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass

from tornado.netutil import bind_sockets

from kvmexporter.errors import KvmExporterError, UsageError

_MAX_PORT_DIGITS = 5
# Connections that the kernel keeps until they are taken (it has a bound of its own,
# net.core.somaxconn). One that finds no room is lost, and comes again a second later: whoever
# connects in masses would make scrapes wait for that.
_BACKLOG = 1024
# sd_listen_fds(3): the first descriptor that is handed over.
_FIRST_DESCRIPTOR = 3
_MAX_DESCRIPTORS = 64


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen; host "" means every address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """`HOST:PORT`, `[IPV6]:PORT` or `:PORT`.

    Raises:
        UsageError: it is none of these.
    """
    host, separator, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    is_number = port.isdecimal() and port.isascii() and len(port) <= _MAX_PORT_DIGITS
    if not separator or not is_number or int(port) > 0xFFFF:
        raise UsageError(f"{text!r} is not an address to listen on: write HOST:PORT or :PORT")
    if ":" in host and not bracketed:
        raise UsageError(f"{text!r} is not an address to listen on: write [{host}]:{port}")
    return Address(host[1:-1] if bracketed else host, int(port))


def bind(addresses: Sequence[Address]) -> list[socket.socket]:
    """Listening sockets for all addresses.

    Raises:
        KvmExporterError: one cannot be listened on.
    """
    sockets: list[socket.socket] = []
    for address in addresses:
        try:
            sockets += bind_sockets(address.port, address.host or None, backlog=_BACKLOG)
        except (OSError, UnicodeError) as err:
            for one in sockets:
                one.close()
            reason = err.strerror if isinstance(err, OSError) else "no such host name"
            raise KvmExporterError(
                f"cannot listen on {address}: {reason}; choose another with --web.listen-address"
            ) from err
    return sockets


def from_systemd(environment: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """The listening sockets that systemd opened for this process, by sd_listen_fds(3).

    The variables that announce them are removed: they are for this process alone.

    Raises:
        UsageError: there are none.
    """
    for_pid = environment.pop("LISTEN_PID", "")
    count = environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if for_pid != str(os.getpid()) or not count.isdecimal() or not int(count):
        raise UsageError(
            "--web.systemd-socket: systemd has handed over no socket: start kvmexporter.socket"
        )
    sockets = []
    for number in range(_FIRST_DESCRIPTOR, _FIRST_DESCRIPTOR + min(int(count), _MAX_DESCRIPTORS)):
        try:
            one = socket.socket(fileno=number)
            is_listening = one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        except OSError as err:
            raise UsageError(
                f"--web.systemd-socket: descriptor {number} is no socket: {err.strerror}"
            ) from err
        if not is_listening or one.type != socket.SOCK_STREAM:
            raise UsageError(
                f"--web.systemd-socket: descriptor {number} does not listen: "
                "write ListenStream= in the socket unit, and Accept=no"
            )
        os.set_inheritable(number, False)
        one.setblocking(False)
        sockets.append(one)
    return sockets


def names(sockets: Sequence[socket.socket]) -> str:
    """Where they listen, for people."""
    return " ".join(
        str(one.getsockname())
        if one.family == socket.AF_UNIX
        else str(Address(*one.getsockname()[:2]))
        for one in sockets
    )
