# SPDX-License-Identifier: Apache-2.0
"""Whose status files are believed, and how much of them is read."""

import errno
import os
import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from kvmexporter.sources.libvirt import MAX_STATUS_BYTES, Libvirt
from tests.unit.model import recorded
from tests.unit.sources.socket_table import write_sockets

RECORDINGS = Path(recorded.__file__).with_name("recordings") / "libvirt"
ME = os.geteuid()
SYSTEM_PID, SESSION_PID = 234, 312


@pytest.fixture
def system(tmp_path: Path) -> Path:
    """The directory of the system's domains, with one of them."""
    directory = tmp_path / "libvirt" / "qemu"
    directory.mkdir(parents=True)
    shutil.copy(RECORDINGS / "system.xml", directory / "rich.xml")
    (directory / "rich.pid").write_text(str(SYSTEM_PID))
    return directory


@pytest.fixture
def session(tmp_path: Path) -> Path:
    """The same of a user's own."""
    directory = tmp_path / "user" / str(ME) / "libvirt" / "qemu" / "run"
    directory.mkdir(parents=True)
    shutil.copy(RECORDINGS / "session.xml", directory / "sess.xml")
    return directory


def test_domains_of_the_system(tmp_path: Path, system: Path) -> None:
    """By the process that runs them."""
    found = Libvirt(tmp_path, ME).of_system()
    assert {pid: (one.domain.name, one.domain.system) for pid, one in found.items()} == {
        SYSTEM_PID: ("rich", True)
    }
    assert found[SYSTEM_PID].domain.monitor == "/var/lib/libvirt/qemu/domain-1-rich/monitor.sock"
    assert system.exists()


def test_domains_of_a_user(tmp_path: Path, session: Path) -> None:
    """In his own directory."""
    found = Libvirt(tmp_path, ME).of_user(ME)
    assert {pid: (one.domain.name, one.domain.system) for pid, one in found.items()} == {
        SESSION_PID: ("sess", False)
    }
    assert session.exists()


def test_no_libvirt(tmp_path: Path) -> None:
    """Is no error."""
    libvirt = Libvirt(tmp_path, ME)
    assert libvirt.of_system() == libvirt.of_user(ME) == {}


def test_a_domain_that_changes_and_ends(tmp_path: Path, system: Path) -> None:
    """A file is read again when libvirt has written it anew, and only then."""
    libvirt = Libvirt(tmp_path, ME)
    first = libvirt.of_system()[SYSTEM_PID].domain
    assert libvirt.of_system()[SYSTEM_PID].domain is first
    file = system / "rich.xml"
    new = system / "rich.xml.new"
    new.write_text(file.read_text().replace("<name>rich<", "<name>richer<"))
    new.rename(file)
    assert libvirt.of_system()[SYSTEM_PID].domain.name == "richer"
    file.unlink()
    assert libvirt.of_system() == {}


def test_a_daemon_that_goes_and_comes(tmp_path: Path, system: Path) -> None:
    """What it said is as old as its connection to the domain's monitor, for how long that lasts."""
    monitor = "/var/lib/libvirt/qemu/domain-1-rich/monitor.sock"
    sockets = tmp_path / "proc" / str(SYSTEM_PID) / "net" / "unix"
    sockets.parent.mkdir(parents=True)
    now = 0.0
    libvirt = Libvirt(tmp_path, ME, tmp_path / "proc", lambda: now)

    def told_at(now_is: float, states: Sequence[str]) -> float | None:
        nonlocal now
        now = now_is
        write_sockets(sockets, *((state, monitor) for state in states))
        return libvirt.of_system()[SYSTEM_PID].at

    assert told_at(100.0, ["01"]) is None, "none since we look"
    assert told_at(115.0, ["03"]) == 115.0
    assert told_at(130.0, ["03", "01"]) == 130.0, "QEMU listens on"
    assert told_at(145.0, ["01"]) == 130.0
    file = system / "rich.xml"
    file.write_text(file.read_text().replace("<name>rich<", "<name>richer<"))
    assert told_at(160.0, ["01"]) == 130.0, "its last word before it went"
    assert libvirt.of_system()[SYSTEM_PID].domain.name == "richer"
    assert told_at(175.0, ["03"]) == 175.0
    assert told_at(190.0, []) == 190.0, "its sockets are not for us to see"


def test_files_that_may_not_be_read_any_more(
    tmp_path: Path, system: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Are as old as the last reading: privileges were given up since."""
    times = iter((100.0, 115.0, 130.0))
    libvirt = Libvirt(tmp_path, ME, tmp_path / "proc", lambda: next(times))
    assert libvirt.of_system()[SYSTEM_PID].at == 100.0

    def refuse(*_: object) -> int:
        raise PermissionError

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", refuse)
        assert libvirt.of_system()[SYSTEM_PID].at == 100.0
    assert libvirt.of_system()[SYSTEM_PID].at == 130.0
    assert system.exists()


def test_files_of_others(tmp_path: Path, system: Path, session: Path) -> None:
    """The system's are root's, a user's are his."""
    libvirt = Libvirt(tmp_path, ME + 1)
    assert libvirt.of_system() == {}
    other = tmp_path / "user" / str(ME + 1) / "libvirt" / "qemu"
    other.mkdir(parents=True)
    session.rename(other / "run")
    assert libvirt.of_user(ME + 1) == {}
    assert system.exists()


def test_no_files(tmp_path: Path, system: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Links, pipes, directories, what is too large or no XML: passed over, the rest is read."""
    (system / "a.xml").symlink_to(RECORDINGS / "session.xml")
    os.mkfifo(system / "b.xml")
    (system / "c.xml").mkdir()
    (system / "d.xml").write_bytes(b" " * (MAX_STATUS_BYTES + 1))
    (system / "e.xml").write_bytes(b"<domstatus")
    libvirt = Libvirt(tmp_path, ME)
    for _ in range(2):
        assert list(libvirt.of_system()) == [SYSTEM_PID]
    assert len(caplog.records) == 2, "each is told once"


def test_a_file_that_its_owners_file_system_does_not_give(
    tmp_path: Path, session: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is passed over; the user's other domains are not."""
    shutil.copy(session / "sess.xml", session / "broken.xml")
    broken, told = (session / "broken.xml").stat().st_ino, os.fstat

    def fails(fd: int) -> os.stat_result:
        about = told(fd)
        if about.st_ino == broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return about

    monkeypatch.setattr(os, "fstat", fails)
    assert list(Libvirt(tmp_path, ME).of_user(ME)) == [SESSION_PID]
    assert "a libvirt status file not read" in caplog.text


def test_a_users_daemon_has_kept_it_just_now(tmp_path: Path, session: Path) -> None:
    """What is told is of this look, not of the one before."""
    assert session.exists()
    now = 1000.0
    libvirt = Libvirt(tmp_path, ME, monotonic=lambda: now)
    for seconds in (0.0, 15.0, 15.0):
        now += seconds
        assert [said.at for said in libvirt.of_user(ME).values()] == [now]


def test_a_directory_that_never_opens(
    tmp_path: Path, session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system that the user serves: it costs a second, and one thread at most."""
    monkeypatch.setattr("kvmexporter.sources.libvirt._USER_SECONDS", 0.05)
    let_go, listed = threading.Event(), Path.iterdir

    def slowly(path: Path) -> object:
        if path == session:
            let_go.wait(30)
        return listed(path)

    monkeypatch.setattr(Path, "iterdir", slowly)
    libvirt = Libvirt(tmp_path, ME)
    try:
        assert libvirt.of_user(ME) == {}
        threads = threading.active_count()
        assert libvirt.of_user(ME) == {}
        assert threading.active_count() == threads
    finally:
        let_go.set()
