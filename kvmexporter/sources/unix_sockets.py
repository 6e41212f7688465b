# SPDX-License-Identifier: Apache-2.0
"""Which listening sockets nobody is connected to.

Reads /proc/PID/net/unix: every socket of that process's network namespace, about a microsecond
each. Source: net/unix/af_unix.c, unix_seq_show (Linux 6.12).
"""

from collections.abc import Iterable
from pathlib import Path

_MAX_BYTES = 1 << 24
# The seven columns before the path: Num, RefCount, Protocol, Flags, Type, St, Inode.
_COLUMNS = 7
_STATE = 5
_CONNECTED = "03"  # SS_CONNECTED; an accepted socket has the path of the one that listens


def idle_listeners(procfs: Path, pids: Iterable[int]) -> frozenset[str]:
    """The paths that sockets are bound to without a connection to any of them.

    Args:
        procfs: where processes are seen.
        pids: processes in whose network namespace to look: the first that is there. Those of
            other namespaces have sockets that nothing is said of.
    """
    text = _sockets(procfs, pids)
    bound: set[str] = set()
    connected: set[str] = set()
    for line in text.splitlines()[1:]:
        words = line.split(None, _COLUMNS)
        if len(words) <= _COLUMNS:
            continue
        bound.add(words[_COLUMNS])
        if words[_STATE] == _CONNECTED:
            connected.add(words[_COLUMNS])
    return frozenset(bound - connected)


def _sockets(procfs: Path, pids: Iterable[int]) -> str:
    for pid in pids:
        try:
            with (procfs / str(pid) / "net" / "unix").open("rb") as file:
                return file.read(_MAX_BYTES).decode(errors="surrogateescape")
        except OSError:  # gone meanwhile
            continue
    return ""
