# SPDX-License-Identifier: Apache-2.0
"""The domains that libvirt runs, from the status files that it keeps of them.

libvirt writes one whenever a domain changes, so that a daemon which is started anew finds its
domains again: `/run/libvirt/qemu/NAME.xml` for the system's (of libvirtd or virtqemud),
`/run/user/UID/libvirt/qemu/run/NAME.xml` for a user's own. Reading them asks no daemon and takes no
library: a stat a file, and a millisecond for one that has changed. It takes root, as they do.

The system's files are root's word. A user's are believed of processes that run as that user.

What a file says of what moves (the balloon) is of now only while a daemon is there to write it
anew: that is, while the domain's monitor is in use.
"""

import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass, replace
from pathlib import Path

from kvmexporter.model.libvirt_domain import LibvirtDomain, NotADomainError, parse_status
from kvmexporter.sources.patience import Patience, StuckError
from kvmexporter.sources.unix_sockets import idle_listeners

_log = logging.getLogger(__name__)

MAX_STATUS_BYTES = 1 << 20
_MAX_FILES = 8192
_MAX_USER_FILES = 64
_USER_SECONDS = 1.0
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Said:
    """A domain, as libvirt says.

    Attributes:
        domain: what it says.
        at: when its daemon last stood behind that, seconds, CLOCK_MONOTONIC; None if there has
            been none since this process looks.
    """

    domain: LibvirtDomain
    at: float | None


@dataclass(frozen=True, slots=True)
class _Status:
    """A file as it was when it was read.

    Attributes:
        stamp: tells it from what libvirt writes later.
        domain: None if it says none.
        looked_at: when the file was there as it is here; seconds, CLOCK_MONOTONIC.
        kept_at: the same, with a daemon that would have changed it; None: never.
    """

    stamp: tuple[int, int, int]
    domain: LibvirtDomain | None
    looked_at: float
    kept_at: float | None = None


class Libvirt:
    """libvirt's domains by process; safe to use from several threads.

    Args:
        run: where `libvirt` and `user` are.
        root_uid: whose files the system's have to be.
        procfs: where the sockets of processes are seen.
        monotonic: the clock, in seconds.
    """

    def __init__(
        self,
        run: Path = Path("/run"),
        root_uid: int = 0,
        procfs: Path = Path("/proc"),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._root_uid = root_uid
        self._procfs = procfs
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._system: dict[Path, _Status] = {}
        self._users: dict[int, dict[Path, _Status]] = {}
        self._patience = Patience()

    def of_system(self) -> dict[int, Said]:
        """The domains of the system's libvirt.

        Returns:
            Process → domain; nothing where there is no libvirt, or its files may not be read.
        """
        directory = self._run / "libvirt" / "qemu"
        with self._lock:
            now = self._monotonic()
            found = _read(directory, self._root_uid, _MAX_FILES, True, self._system, now)
            self._system = self._kept(dict(found), now)
            return _by_process(self._system)

    def of_user(self, uid: int) -> dict[int, Said]:
        """The domains of a user's own libvirt, who may say any process's number.

        The directory is his, and so may be the file system that it is on: what takes longer than
        a second is left alone. Returns the same as `of_system`.
        """
        directory = self._run / "user" / str(uid) / "libvirt" / "qemu" / "run"
        known = self._users.get(uid, {})
        now = self._monotonic()

        def read() -> dict[Path, _Status]:
            return dict(_read(directory, uid, _MAX_USER_FILES, False, known, now))

        try:
            found = self._patience.begin(uid, read).result(_USER_SECONDS)
        except (FutureTimeoutError, StuckError):
            return {}
        self._users[uid] = self._kept(found, now)
        return _by_process(self._users[uid])

    def _kept(self, files: dict[Path, _Status], now: float) -> dict[Path, _Status]:
        """The same with when a daemon last stood behind each."""
        read = {path: one for path, one in files.items() if one.domain and one.looked_at == now}
        idle = idle_listeners(self._procfs, [one.domain.pid for one in read.values() if one.domain])
        return files | {
            path: replace(one, kept_at=now)
            for path, one in read.items()
            if one.domain and one.domain.monitor not in idle
        }


def _by_process(files: Mapping[Path, _Status]) -> dict[int, Said]:
    return {one.domain.pid: Said(one.domain, one.kept_at) for one in files.values() if one.domain}


def _read(
    directory: Path,
    owner: int,
    most: int,
    system: bool,
    known: Mapping[Path, _Status],
    now: float,
) -> Iterator[tuple[Path, _Status]]:
    try:
        paths = sorted(path for path in directory.iterdir() if path.suffix == ".xml")
    except OSError:  # no libvirt, or not for us to see
        return
    for path in paths[:most]:
        status = _status(path, owner, system, known.get(path), now)
        if status:
            yield path, status


def _status(
    path: Path, owner: int, system: bool, known: _Status | None, now: float
) -> _Status | None:
    try:
        fd = os.open(path, _FLAGS)
    except PermissionError:  # privileges were given up since
        return known
    except OSError:  # gone meanwhile, a link, or not for us to see
        return None
    try:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode) or about.st_uid != owner:
            return None
        stamp = about.st_ino, about.st_mtime_ns, about.st_size
        if known and known.stamp == stamp:
            return replace(known, looked_at=now)
        with os.fdopen(fd, "rb", closefd=False) as file:
            text = file.read(MAX_STATUS_BYTES + 1)
    except OSError as err:  # what its owner's file system says
        _log.warning(
            "a libvirt status file not read", extra={"path": str(path), "reason": err.strerror}
        )
        return None
    finally:
        os.close(fd)
    try:
        if len(text) > MAX_STATUS_BYTES:
            raise NotADomainError(f"more than {MAX_STATUS_BYTES} bytes")
        # Whoever wrote it anew has been there since.
        kept_at = known.kept_at if known else None
        return _Status(stamp, parse_status(text, system=system), now, kept_at)
    except NotADomainError as err:
        _log.warning(
            "a libvirt status file passed over", extra={"path": str(path), "reason": str(err)}
        )
        return _Status(stamp, None, now)
