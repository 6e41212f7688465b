# SPDX-License-Identifier: Apache-2.0
"""Who is connected to a listening socket."""

import os
import socket
from pathlib import Path

import pytest

from kvmexporter.sources.unix_sockets import idle_listeners
from tests.unit.procfs_tree import NO_REAL_PID
from tests.unit.sources.socket_table import write_sockets

PROC = Path("/proc")


def test_a_real_one(tmp_path: Path) -> None:
    """It is idle before somebody connects and after that has gone."""
    path = str(tmp_path / "a monitor.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(1)
        assert path in idle_listeners(PROC, [os.getpid()])
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            with listener.accept()[0]:
                assert path not in idle_listeners(PROC, [os.getpid()])
        assert path in idle_listeners(PROC, [os.getpid()])
    assert path not in idle_listeners(PROC, [os.getpid()])


@pytest.mark.parametrize(
    ("sockets", "expected"),
    [
        ([], set()),
        ([("01", "/a")], {"/a"}),
        ([("03", "/a")], set()),
        ([("01", "/a"), ("03", "/a")], set()),
        ([("03", "/a"), ("01", "/a"), ("01", "/b")], {"/b"}),
        ([("03", ""), ("01", "@abstract")], {"@abstract"}),
        ([("02", "/a")], {"/a"}),
    ],
)
def test_tables(tmp_path: Path, sockets: list[tuple[str, str]], expected: set[str]) -> None:
    """One that is connected makes its path busy; one without a path says nothing."""
    (tmp_path / "7" / "net").mkdir(parents=True)
    write_sockets(tmp_path / "7" / "net" / "unix", *sockets)
    assert idle_listeners(tmp_path, [NO_REAL_PID, 7]) == expected


def test_no_process(tmp_path: Path) -> None:
    """Nothing is said of what cannot be seen."""
    assert idle_listeners(tmp_path, [NO_REAL_PID]) == idle_listeners(tmp_path, []) == frozenset()
