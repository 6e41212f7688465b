# SPDX-License-Identifier: Apache-2.0
"""Tap devices of processes, in trees of files."""

import os
from pathlib import Path

import pytest

from kvmexporter.sources.taps import TapFlags, Taps, tap_flags, taps

PID = 10


def hold(procfs: Path, descriptors: dict[int, tuple[str, str]]) -> None:
    """Descriptor → (target, fdinfo)."""
    for directory in ("fd", "fdinfo"):
        (procfs / str(PID) / directory).mkdir(parents=True, exist_ok=True)
    for fd, (target, info) in descriptors.items():
        (procfs / str(PID) / "fd" / str(fd)).symlink_to(target)
        (procfs / str(PID) / "fdinfo" / str(fd)).write_text(info)


TUN = "/dev/net/tun"
INFO = "pos:\t0\nflags:\t0104002\nmnt_id:\t27\niff:\t{}\n"


def test_taps(tmp_path: Path) -> None:
    """Descriptors that are attached to an interface; nothing else of the process."""
    hold(
        tmp_path,
        {
            3: ("/dev/null", "iff:\tno\n"),
            30: (TUN, INFO.format("vnet0")),
            31: (TUN, INFO.format("vnet0")),
            32: (TUN, INFO.format("x" * 100)),
            33: (TUN, INFO.replace("iff", "other")),
            34: ("/dev/net/tun (deleted)", INFO.format("gone")),
        },
    )
    assert taps(tmp_path, PID) == {30: "vnet0", 31: "vnet0", 32: "x" * 15}
    assert taps(tmp_path, 11) is None


def test_as_many_as_anybody_needs(tmp_path: Path) -> None:
    """A process may open the device as often as it likes."""
    hold(tmp_path, {fd: (TUN, INFO.format(f"tap{fd}")) for fd in range(100)})
    assert len(taps(tmp_path, PID) or {}) == 64


def test_looked_up_once_a_minute(tmp_path: Path) -> None:
    """What was seen is kept when it cannot be seen any more; other processes are forgotten."""
    now = 1000.0
    known = Taps(tmp_path, lambda: now)
    assert known.of(PID) == {}
    hold(tmp_path, {30: (TUN, INFO.format("vnet0"))})
    assert known.of(PID) == {}
    now += 60.0
    assert known.of(PID) == {30: "vnet0"}
    (tmp_path / str(PID) / "fd" / "30").unlink()
    now += 60.0
    assert known.of(PID) == {}, "its NIC was unplugged"
    hold(tmp_path, {30: (TUN, INFO.format("vnet0"))})
    now += 60.0
    assert known.of(PID) == {30: "vnet0"}
    (tmp_path / str(PID)).rename(tmp_path / "hidden")
    now += 60.0
    assert known.of(PID) == {30: "vnet0"}
    known.keep({11})
    assert known.of(PID) == {}


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("tap0", "0x5002\n", TapFlags(vnet_hdr=True, multi_queue=False)),
        ("tap0", "0x1102\n", TapFlags(vnet_hdr=False, multi_queue=True)),
        ("tap0", "nonsense\n", None),
        ("tap1", "0x5002\n", None),
        ("../tap0", "0x5002\n", None),
        ("..", "0x5002\n", None),
        ("", "0x5002\n", None),
    ],
)
def test_tap_flags(tmp_path: Path, name: str, text: str, expected: TapFlags | None) -> None:
    """Of an interface, and of nothing that only looks like one's name."""
    place = tmp_path / "class/net/tap0"
    place.mkdir(parents=True)
    (place / "tun_flags").write_text(text)
    assert tap_flags(tmp_path, name) == expected


def test_what_may_not_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is not the same as nothing, as long as that process is there."""
    seen = os.scandir

    def refuse(path: Path) -> object:
        if Path(path).parent.name == str(PID):
            raise PermissionError
        return seen(path)

    monkeypatch.setattr(os, "scandir", refuse)
    known = Taps(tmp_path, lambda: 0.0)
    hides = []
    for pid in (11, PID):
        assert known.of(pid) == {}
        hides.append(known.hides_some)
    known.keep({11})
    assert [*hides, known.hides_some] == [False, True, False]


def test_links_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As without CAP_SYS_PTRACE: the descriptors are listed, and what they are is not told."""
    now = 1000.0
    hold(tmp_path, {30: (TUN, INFO.format("vnet0"))})
    known = Taps(tmp_path, lambda: now)
    assert known.of(PID) == {30: "vnet0"}

    def refuse(path: str) -> str:
        raise PermissionError(path)

    monkeypatch.setattr(os, "readlink", refuse)
    now += 60.0
    assert known.of(PID) == {30: "vnet0"}
    assert known.hides_some
