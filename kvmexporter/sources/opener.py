# SPDX-License-Identifier: Apache-2.0
"""What a server without privileges asks of its small privileged child, `opener_child.py`."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Self

import kvmexporter
from kvmexporter.errors import KvmExporterError
from kvmexporter.model.vm import bounded_name
from kvmexporter.sources.opener_child import (
    COMPLETE,
    CONNECT,
    CONNECT_AGENT,
    COUNT,
    COUNTED,
    GOOD,
    MAX_ANSWER_BYTES,
    REQUEST,
    SCAN,
)
from kvmexporter.sources.procfs import KvmDescriptors, KvmProcesses

_START_SECONDS = 15.0
_ANSWER_SECONDS = 5.0
_CHILD = (
    "import sys; sys.path.insert(0, sys.argv[1]); "
    "from kvmexporter.sources.opener_child import main; main(sys.argv[2:])"
)


class Opener:
    """The child, started; safe to use from several threads.

    Args:
        uid: whom it becomes, with two capabilities.
        gid: and that user's group.

    Raises:
        KvmExporterError: it does not start.
    """

    def __init__(self, uid: int, gid: int) -> None:
        self._lock = threading.Lock()
        self._owed = 0  # answers to questions asked so far
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        places = str(Path(kvmexporter.__file__).parent.parent)
        with theirs:
            self._child = subprocess.Popen(  # noqa: S603 - this interpreter, our code
                [sys.executable, "-I", "-c", _CHILD, places,
                 *map(str, (theirs.fileno(), uid, gid, os.getpid()))],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
            )  # fmt: skip
        try:
            self._channel.settimeout(_START_SECONDS)
            if self._channel.recv(1) != GOOD:
                raise KvmExporterError("the opener child ended as soon as it began")
        except OSError as err:
            self.close()
            raise KvmExporterError(f"the opener child does not start: {err}") from err
        except KvmExporterError:
            self.close()
            raise
        self._channel.settimeout(_ANSWER_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it; safe to repeat."""
        self._channel.close()
        try:
            self._child.wait(1.0)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()

    def connect(self, pid: int, index: int = 0) -> socket.socket:
        """A connection, non-blocking, to a QMP socket of a QEMU.

        Args:
            pid: the QEMU's.
            index: which of the sockets that its command line names.

        Raises:
            KvmExporterError: there is none, and why.
        """
        return self._connected(CONNECT, pid, index)

    def connect_agent(self, pid: int) -> socket.socket:
        """A connection, non-blocking, to the agent's socket of a QEMU's guest.

        Args:
            pid: the QEMU's.

        Raises:
            KvmExporterError: there is none, and why.
        """
        return self._connected(CONNECT_AGENT, pid, 0)

    def _connected(self, kind: int, pid: int, index: int) -> socket.socket:
        _, fds = self._ask(kind, pid, index)
        if len(fds) != 1:
            for fd in fds:
                os.close(fd)
            raise KvmExporterError("the opener child passed no connection")
        made = socket.socket(fileno=fds[0])
        made.setblocking(False)
        return made

    def kvm_descriptors(self, pid: int) -> KvmDescriptors:
        """As `Procfs.kvm_descriptors`.

        Raises:
            PermissionError: the child is gone.
        """
        return _unpacked(self._counted(COUNT, pid)).get(pid, KvmDescriptors(0, 0))

    def kvm_processes(self) -> KvmProcesses:
        """As `Procfs.kvm_processes`.

        Raises:
            PermissionError: the child is gone.
        """
        answer = self._counted(SCAN, 0)
        return KvmProcesses(_unpacked(answer[1:]), answer[:1] == COMPLETE)

    def _counted(self, kind: int, pid: int) -> bytes:
        try:
            packed, fds = self._ask(kind, pid, 0)
        except KvmExporterError as err:
            raise PermissionError(str(err)) from err
        for fd in fds:  # nobody asked for one
            os.close(fd)
        return packed

    def _ask(self, kind: int, pid: int, index: int) -> tuple[bytes, list[int]]:
        with self._lock:
            try:
                while self._owed:  # an answer that comes too late is nobody's
                    for fd in self._answer()[1]:
                        os.close(fd)
                self._channel.send(REQUEST.pack(kind, pid, index))
                self._owed += 1
                data, fds = self._answer()
            except TimeoutError as err:
                raise KvmExporterError(
                    f"the opener child did not answer within {self._channel.gettimeout():g} s"
                ) from err
            except OSError as err:
                self._channel.close()
                raise KvmExporterError(
                    f"the opener child is gone ({err}): restart kvmexporter"
                ) from err
        if data[:1] != GOOD:
            reason = bounded_name(data[1:].decode(errors="replace")) or "the opener child is gone"
            raise KvmExporterError(reason)
        return data[1:], fds

    def _answer(self) -> tuple[bytes, list[int]]:
        """The next answer; they come in the order of the questions."""
        data, fds, _, _ = socket.recv_fds(self._channel, MAX_ANSWER_BYTES, 1)
        if not data:
            raise ConnectionResetError("it ended")
        self._owed -= 1
        return data, fds


def _unpacked(packed: bytes) -> dict[int, KvmDescriptors]:
    return {one: KvmDescriptors(*rest) for one, *rest in COUNTED.iter_unpack(packed)}
