# SPDX-License-Identifier: Apache-2.0
"""The small privileged process beside a server that holds no privilege.

It does two things for the server, over a socket that both inherit, and nothing else:

- it counts the KVM descriptors of processes, which takes CAP_SYS_PTRACE and either
  CAP_DAC_READ_SEARCH or CAP_DAC_OVERRIDE;
- it connects to a QMP socket of a VM, or to the socket of its guest's agent, which takes
  CAP_DAC_OVERRIDE, and passes the descriptor on.

The server names a process, never a path. The path comes from the command line of a QEMU
that holds a KVM VM descriptor, it has to be a socket, and whoever listens on it has to be
that very process: so no VM, and no server that was taken over, gets a connection to
anything else. Every connection is made by a process of its own with a second to live, for
a tenant may own the file system that the path is looked up in.
"""

import os
import signal
import socket
import stat
import struct
import sys
from pathlib import Path

from kvmexporter.model import qemu_command_line
from kvmexporter.sources import privilege
from kvmexporter.sources.procfs import Procfs

# Kind, process, which of its sockets.
REQUEST = struct.Struct("!BII")
CONNECT, COUNT, SCAN, CONNECT_AGENT = range(4)
# An answer begins with whether it went well; if not, the reason is its rest.
GOOD, BAD = b"\0", b"\1"
# That to a scan goes on with whether all processes were looked at.
COMPLETE, INCOMPLETE = b"\0", b"\1"
# Process, VM descriptors, vCPU descriptors.
COUNTED = struct.Struct("!III")
MAX_ANSWER_BYTES = 1 << 16
_MAX_COUNTED = (MAX_ANSWER_BYTES - 2) // COUNTED.size
_MAX_REASON_BYTES = 512
_CONNECT_SECONDS = 1.0
_PEER_CREDENTIALS = struct.Struct("=iII")
KEPT = (privilege.CAP_DAC_OVERRIDE, privilege.CAP_SYS_PTRACE)
# Enough for counting, where the first of those is not given.
KEPT_FOR_COUNTING = (privilege.CAP_DAC_READ_SEARCH, privilege.CAP_SYS_PTRACE)


class _RefusedError(Exception):
    """Why not."""


def connect(procfs: Procfs, pid: int, index: int, agent: bool = False) -> socket.socket:
    """Connect to a QMP socket of a VM, or to that of its guest's agent.

    Args:
        procfs: where processes are seen.
        pid: the VM's.
        index: which of the sockets that its command line names.
        agent: whether the agent's is meant.

    Raises:
        _RefusedError: it is no VM, has no such socket, or another process listens there.
        OSError: nobody does.
    """
    arguments = procfs.command_line(pid)
    if not qemu_command_line.is_qemu(arguments) or not procfs.kvm_descriptors(pid).vms:
        raise _RefusedError(f"process {pid} is no QEMU with a VM")
    line = qemu_command_line.parse(arguments)
    paths = tuple(filter(None, [line.agent_socket])) if agent else line.qmp_sockets
    what = "agent" if agent else "QMP"
    if index >= len(paths):
        raise _RefusedError(f"QEMU {pid} has {len(paths)} {what} sockets")
    path = paths[index]
    base = procfs.root / str(pid) / ("root" if path.startswith("/") else "cwd")
    found = os.open(base / path.lstrip("/"), os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(found).st_mode):
            raise _RefusedError(f"the path of its {what} socket is no socket")
        # Wherever the links of the path have led: libvirt's monitor serves libvirt alone.
        if qemu_command_line.LIBVIRT_DIRECTORY in os.readlink(f"/proc/self/fd/{found}"):  # noqa: PTH115
            raise _RefusedError(f"its {what} socket is libvirt's own")
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            # Through the descriptor: what was looked at is what is connected to.
            made.connect(f"/proc/self/fd/{found}")
            credentials = made.getsockopt(
                socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size
            )
            listener = _PEER_CREDENTIALS.unpack(credentials)[0]
            if listener != pid:
                raise _RefusedError(f"process {listener} listens on its {what} socket, not it")
        except BaseException:
            made.close()
            raise
        return made
    finally:
        os.close(found)


def answer(channel: socket.socket, request: bytes, procfs: Procfs) -> None:
    """Do what is asked, or say why not."""
    if len(request) != REQUEST.size:
        channel.send(BAD + b"no such request")
        return
    kind, pid, index = REQUEST.unpack(request)
    match kind:
        case _ if kind in (CONNECT, CONNECT_AGENT):
            _answer_in_time(channel, procfs, pid, index, kind == CONNECT_AGENT)
        case _ if kind == COUNT:
            one = procfs.kvm_descriptors(pid)
            channel.send(GOOD + COUNTED.pack(pid, one.vms, one.vcpus))
        case _ if kind == SCAN:
            seen = procfs.kvm_processes()
            every = list(seen.found.items())[:_MAX_COUNTED]
            packed = (COUNTED.pack(number, one.vms, one.vcpus) for number, one in every)
            complete = COMPLETE if seen.is_complete else INCOMPLETE
            channel.send(GOOD + complete + b"".join(packed))
        case _:
            channel.send(BAD + b"no such request")


def _answer_in_time(
    channel: socket.socket, procfs: Procfs, pid: int, index: int, agent: bool
) -> None:
    worker = os.fork()
    if worker == 0:
        signal.setitimer(signal.ITIMER_REAL, _CONNECT_SECONDS)
        try:
            with connect(procfs, pid, index, agent) as made:
                # Killed after its answer, it would be answered for once more.
                signal.setitimer(signal.ITIMER_REAL, 0)
                socket.send_fds(channel, [GOOD], [made.fileno()])
        except (_RefusedError, OSError, ValueError) as err:
            signal.setitimer(signal.ITIMER_REAL, 0)
            reason = err.strerror if isinstance(err, OSError) and err.strerror else str(err)
            channel.send(BAD + reason.encode(errors="replace")[:_MAX_REASON_BYTES])
        finally:
            os._exit(0)
    _, status = os.waitpid(worker, 0)
    if os.WIFSIGNALED(status):
        channel.send(BAD + f"no connection within {_CONNECT_SECONDS:g} s".encode())


def main(arguments: list[str]) -> None:
    """Serve until the server is gone: `CHANNEL UID GID PARENT`."""
    number, uid, gid, parent = map(int, arguments)
    channel = socket.socket(fileno=number)
    # Where it may not become that user, it does with what it has.
    connects = privilege.CAP_DAC_OVERRIDE in privilege.permitted()
    privilege.become(uid, gid, KEPT if connects else KEPT_FOR_COUNTING)
    privilege.die_with_parent()
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(one, signal.SIG_IGN)  # meant for the server, whose end is this one's
    if os.getppid() != parent:
        return
    procfs = Procfs(Path("/proc"))
    channel.send(GOOD)
    while request := channel.recv(REQUEST.size + 1):
        try:
            answer(channel, request, procfs)
        except OSError as err:
            channel.send(BAD + str(err).encode(errors="replace")[:_MAX_REASON_BYTES])


if __name__ == "__main__":
    main(sys.argv[1:])
