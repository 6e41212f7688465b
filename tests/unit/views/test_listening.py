# SPDX-License-Identifier: Apache-2.0
"""Where the endpoint listens."""

import contextlib
import gc
import socket
import subprocess
import sys

import psutil
import pytest

from kvmexporter.errors import KvmExporterError, UsageError
from kvmexporter.views.listening import Address, bind, names, parse_address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:9942", "127.0.0.1", 9942),
        (":9942", "", 9942),
        ("localhost:0", "localhost", 0),
        ("[::1]:9942", "::1", 9942),
        ("[::]:65535", "::", 65535),
        ("[fe80::1%eth0]:1", "fe80::1%eth0", 1),
        ("example.org:080", "example.org", 80),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    """HOST:PORT, [IPV6]:PORT or :PORT."""
    assert parse_address(text) == Address(host, port)


@pytest.mark.parametrize(
    "text",
    [
        "", ":", "9942", "localhost", "localhost:", "127.0.0.1:http", "127.0.0.1:-1",
        "127.0.0.1:+1", "127.0.0.1:65536", "127.0.0.1: 80", "127.0.0.1:80 ", "::1:9942", "[::1]",
        "[::1]9942", "[::1:9942", "::1]:9942", "127.0.0.1:\u0661\u0662", "127.0.0.1:\u00b2",
        "a:b:80", "127.0.0.1:80\n",
    ],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    """The error says what to write instead."""
    with pytest.raises(UsageError, match="is not an address to listen on: write "):
        parse_address(text)


def test_a_port_without_end_is_no_address() -> None:
    """One clear line for that, too."""
    with pytest.raises(UsageError):
        parse_address("127.0.0.1:" + "9" * 5000)


@pytest.mark.parametrize("address", [Address("127.0.0.1", 80), Address("::1", 80), Address("", 80)])
def test_an_address_as_text_reads_back(address: Address) -> None:
    """What is logged can be given as a flag."""
    assert parse_address(str(address)) == address


def test_bind_and_names() -> None:
    """The names are where they really listen."""
    sockets = bind([Address("127.0.0.1", 0), Address("localhost", 0)])
    try:
        for one, name in zip(sockets, names(sockets).split(), strict=True):
            address = parse_address(name)
            assert address.port == one.getsockname()[1] != 0
            socket.create_connection((address.host, address.port), timeout=5).close()
    finally:
        for one in sockets:
            one.close()


def refusal(*addresses: Address) -> str:
    """What is said of addresses that cannot be listened on."""
    try:
        for one in bind(addresses):
            one.close()
    except KvmExporterError as err:
        return str(err)
    return ""


# tornado leaves the socket that it could not bind to the garbage collector.
unbound = pytest.mark.filterwarnings("ignore:unclosed <socket.*:ResourceWarning")


@unbound
def test_an_address_in_use() -> None:
    """The error names it and the flag, and what was bound before is given back."""
    before = psutil.Process().num_fds()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert refusal(Address("127.0.0.1", 0), Address("127.0.0.1", port)) == (
            f"cannot listen on 127.0.0.1:{port}: Address already in use; "
            "choose another with --web.listen-address"
        )
    gc.collect()
    assert psutil.Process().num_fds() == before


@unbound
def test_a_host_that_is_none() -> None:
    """A number that is no address of this machine."""
    assert refusal(Address("192.0.2.1", 0)).startswith("cannot listen on 192.0.2.1:0: ")
    gc.collect()


@pytest.mark.parametrize("host", ["a" * 64, "..", "a..b"])
def test_a_host_that_cannot_be_a_name(host: str) -> None:
    """One clear line for that, too."""
    with pytest.raises(KvmExporterError, match="cannot listen on "):
        bind([Address(host, 0)])


def handed_over(listening: bool = True, pid: str = "self") -> str:
    """What a process makes of a socket that it inherits as descriptor 3."""
    program = (
        "import os, sys\n"
        "from kvmexporter.errors import UsageError\n"
        "from kvmexporter.views.listening import from_systemd, names\n"
        "if sys.argv[1] == 'self': os.environ['LISTEN_PID'] = str(os.getpid())\n"
        "try: sockets = from_systemd()\n"
        "except UsageError as err: sys.exit(str(err))\n"
        "print(names(sockets), os.get_inheritable(3), 'LISTEN_FDS' in os.environ)\n"
    )
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        if listening:
            one.listen()
        port = one.getsockname()[1]
        done = subprocess.run(
            ["bash", "-c", 'exec "$@" 3<&$FD', "-", sys.executable, "-c", program, pid],
            env={"FD": str(one.fileno()), "LISTEN_FDS": "1", "PATH": "/usr/bin:/bin"},
            pass_fds=[one.fileno()],
            capture_output=True,
            text=True,
            check=False,
        )
    return (done.stdout or done.stderr).strip().replace(str(port), "PORT")


def test_a_socket_of_systemd_s() -> None:
    """Is taken, and neither it nor its announcement goes on to children."""
    assert handed_over() == "127.0.0.1:PORT False False"


def test_a_socket_that_does_not_listen() -> None:
    """Says what to write in the unit."""
    assert "descriptor 3 does not listen: write ListenStream=" in handed_over(listening=False)


def test_sockets_for_somebody_else() -> None:
    """Are not taken: the variables may be a parent's."""
    assert "systemd has handed over no socket" in handed_over(pid="other")


def test_a_mass_of_connections_that_nobody_takes_yet() -> None:
    """None of some hundreds is lost: it would come again a second later, and so would a scrape."""
    (listening,) = bind([Address("127.0.0.1", 0)])
    with listening, contextlib.ExitStack() as stack:
        for _ in range(500):
            one = stack.enter_context(socket.socket())
            one.settimeout(0.9)
            one.connect(listening.getsockname())
