# SPDX-License-Identifier: Apache-2.0
"""What the privileged child does and what it refuses, on trees and sockets of the test's own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kvmexporter.sources.opener_child import (
    BAD,
    COMPLETE,
    CONNECT,
    CONNECT_AGENT,
    COUNT,
    COUNTED,
    GOOD,
    REQUEST,
    SCAN,
    answer,
)
from tests.unit.procfs_tree import ProcfsTree

QEMU = "/usr/bin/qemu-system-x86_64"


class Asked:
    """A child's work done in this process: what it answers."""

    def __init__(self, tree: ProcfsTree) -> None:
        self.tree = tree
        self._ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._ours.settimeout(5)

    def __call__(self, kind: int, pid: int = 0, index: int = 0) -> bytes:
        return self.raw(REQUEST.pack(kind, pid, index))

    def raw(self, request: bytes) -> bytes:
        answer(self._theirs, request, self.tree.procfs)
        data, fds, _, _ = socket.recv_fds(self._ours, 1 << 16, 4)
        for fd in fds:
            os.close(fd)
        return data + b"+fd" * len(fds)

    def close(self) -> None:
        self._ours.close()
        self._theirs.close()


@pytest.fixture
def asked(tree: ProcfsTree) -> Iterator[Asked]:
    made = Asked(tree)
    yield made
    made.close()


def vm(asked: Asked, pid: int, root: Path, *arguments: str, vms: int = 1) -> None:
    """A process whose file system is the whole one."""
    asked.tree.process(pid, arguments, vms=vms)
    with suppress(FileExistsError):
        (asked.tree.root / str(pid) / "root").symlink_to(root)


@pytest.fixture
def listening(tmp_path: Path) -> Iterator[Path]:
    """A socket on which this process listens."""
    path = tmp_path / "qmp.sock"
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))
        one.listen()
        yield path


def test_a_socket_of_its_own(asked: Asked, listening: Path) -> None:
    """Is connected to, and the connection passed on."""
    vm(asked, os.getpid(), Path("/"), QEMU, "-qmp", f"unix:{listening},server=on")
    assert asked(CONNECT, os.getpid()) == GOOD + b"+fd"
    assert b"has 1 QMP sockets" in asked(CONNECT, os.getpid(), 1)


def test_the_socket_of_an_agent(asked: Asked, listening: Path) -> None:
    """Is another one than QMP's, and each is reached by its own request alone."""
    port = "virtserialport,chardev=a,name=org.qemu.guest_agent.0"
    chardev = f"socket,id=a,path={listening},server=on"
    vm(asked, os.getpid(), Path("/"), QEMU, "-chardev", chardev, "-device", port)
    assert asked(CONNECT_AGENT, os.getpid()) == GOOD + b"+fd"
    assert b"has 0 QMP sockets" in asked(CONNECT, os.getpid())
    asked.tree.end(os.getpid())
    vm(asked, os.getpid(), Path("/"), QEMU, "-qmp", f"unix:{listening},server=on")
    assert b"has 0 agent sockets" in asked(CONNECT_AGENT, os.getpid())


def test_a_socket_of_another_process(asked: Asked, listening: Path) -> None:
    """Is refused, whatever the command line says: it may be docker's."""
    vm(asked, 4321, Path("/"), QEMU, "-qmp", f"unix:{listening},server=on")
    refused = asked(CONNECT, 4321)
    assert refused == BAD + f"process {os.getpid()} listens on its QMP socket, not it".encode()


@pytest.mark.parametrize("program", ["/usr/bin/cat", "/usr/bin/notqemu-system-x86_64", "/bin/sh"])
def test_what_is_no_qemu(program: str, asked: Asked, listening: Path) -> None:
    """Has no QMP socket."""
    vm(asked, os.getpid(), Path("/"), program, "-qmp", f"unix:{listening},server=on")
    assert b"is no QEMU with a VM" in asked(CONNECT, os.getpid())


def test_what_has_no_vm(asked: Asked, listening: Path) -> None:
    """Anybody may be called like QEMU."""
    vm(asked, os.getpid(), Path("/"), QEMU, "-qmp", f"unix:{listening},server=on", vms=0)
    assert b"is no QEMU with a VM" in asked(CONNECT, os.getpid())


def test_what_is_no_socket(asked: Asked, tmp_path: Path) -> None:
    """Is not even opened for reading: a device might notice, a pipe might wait."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    vm(asked, 5, Path("/"), QEMU, "-qmp", f"unix:{pipe},server=on")
    assert asked(CONNECT, 5) == BAD + b"the path of its QMP socket is no socket"
    vm(asked, 6, Path("/"), QEMU, "-qmp", f"unix:{tmp_path}/gone,server=on")
    assert asked(CONNECT, 6) == BAD + b"No such file or directory"


@pytest.mark.parametrize(
    "request_bytes",
    [b"", b"\0", b"\0" * 8, b"\0" * 10, b"\xff" * REQUEST.size, REQUEST.pack(9, 1, 1)],
)
def test_requests_that_are_none(request_bytes: bytes, asked: Asked) -> None:
    """Are refused."""
    assert asked.raw(request_bytes) == BAD + b"no such request"


def test_counting(asked: Asked) -> None:
    """One process, or all that have a VM."""
    vm(asked, 10, Path("/"), QEMU)
    asked.tree.process(11, [QEMU], vms=2, vcpus=8)
    asked.tree.process(12, [QEMU], vms=0, vcpus=0)
    assert asked(COUNT, 11) == GOOD + COUNTED.pack(11, 2, 8)
    assert asked(COUNT, 999) == GOOD + COUNTED.pack(999, 0, 0)
    assert asked(SCAN)[1:2] == COMPLETE
    found = {COUNTED.unpack(asked(SCAN)[2:][at : at + 12]) for at in (0, 12)}
    assert found == {(10, 1, 1), (11, 2, 8)}


def test_it_ends_when_its_server_is_gone_already() -> None:
    """Rather than serve nobody with privileges."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        done = subprocess.run(
            [sys.executable, "-m", "kvmexporter.sources.opener_child",
             str(theirs.fileno()), str(os.getuid()), str(os.getgid()), "1"],
            pass_fds=[theirs.fileno()], timeout=20, check=False,
        )  # fmt: skip
    assert done.returncode == 0


def test_one_answer_however_late(
    asked: Asked, listening: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once a connection is on its way nobody is told that it took too long.

    The next question would get that answer, and each one after it its predecessor's.
    """
    send = socket.send_fds

    def send_and_linger(channel: socket.socket, data: list[bytes], fds: list[int]) -> int:
        sent = send(channel, data, fds)
        time.sleep(1.5)
        return sent

    monkeypatch.setattr(socket, "send_fds", send_and_linger)
    vm(asked, os.getpid(), Path("/"), QEMU, "-qmp", f"unix:{listening},server=on")
    assert asked(CONNECT, os.getpid()) == GOOD + b"+fd"
    assert asked(COUNT, 999) == GOOD + COUNTED.pack(999, 0, 0)
