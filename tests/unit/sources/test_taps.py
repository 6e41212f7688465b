# SPDX-License-Identifier: Apache-2.0
"""Tap devices of processes, in trees of files."""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from kvmexporter.model.vm import VmId
from kvmexporter.sources.taps import TapFlags, Taps, tap_flags

PID = 10
VM = VmId(1000, PID)
OTHER = VmId(1000, 11)


def hold(procfs: Path, descriptors: dict[int, tuple[str, str]], pid: int = PID) -> None:
    """Descriptor → (target, fdinfo)."""
    for directory in ("fd", "fdinfo"):
        (procfs / str(pid) / directory).mkdir(parents=True, exist_ok=True)
    for fd, (target, info) in descriptors.items():
        (procfs / str(pid) / "fd" / str(fd)).symlink_to(target)
        (procfs / str(pid) / "fdinfo" / str(fd)).write_text(info)


TUN = "/dev/net/tun"
INFO = "pos:\t0\nflags:\t0104002\nmnt_id:\t27\niff:\t{}\n"


def seen(procfs: Path, vm: VmId = VM) -> Mapping[int, str]:
    """The taps of a VMM that is met now."""
    known = Taps(procfs)
    known.look(1000.0, [vm])
    return known.of(vm)


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
    assert seen(tmp_path) == {30: "vnet0", 31: "vnet0", 32: "x" * 15}
    assert seen(tmp_path, VmId(0, 11)) == {}


def test_as_many_as_anybody_needs(tmp_path: Path) -> None:
    """A process may open the device as often as it likes."""
    hold(tmp_path, {fd: (TUN, INFO.format(f"tap{fd}")) for fd in range(100)})
    assert len(seen(tmp_path)) == 64


def test_few_are_looked_at_each_time(tmp_path: Path) -> None:
    """What was seen is kept when it cannot be seen any more; other processes are forgotten."""
    known = Taps(tmp_path)
    known.look(1000.0, [VM])
    assert known.of(VM) == {}
    hold(tmp_path, {30: (TUN, INFO.format("vnet0"))})
    known.look(1000.0, [VM])
    assert known.of(VM) == {}, "once at a time"
    known.look(1000.5, [VM])
    assert known.of(VM) == {30: "vnet0"}
    (tmp_path / str(PID) / "fd" / "30").unlink()
    (tmp_path / str(PID) / "fdinfo" / "30").unlink()
    known.look(1001.0, [VM])
    assert known.of(VM) == {}, "its NIC was unplugged"
    hold(tmp_path, {30: (TUN, INFO.format("vnet0"))})
    known.look(1002.0, [VM])
    assert known.of(VM) == {30: "vnet0"}
    (tmp_path / str(PID)).rename(tmp_path / "hidden")
    known.look(1003.0, [VM])
    assert known.of(VM) == {30: "vnet0"}
    known.look(1004.0, [VmId(0, 11)])
    known.look(1005.0, [VM])
    assert known.of(VM) == {}


def test_another_process_of_the_same_pid(tmp_path: Path) -> None:
    """Has its own."""
    hold(tmp_path, {30: (TUN, INFO.format("vnet0"))})
    known = Taps(tmp_path)
    known.look(1000.0, [VM])
    (tmp_path / str(PID) / "fdinfo" / "30").write_text(INFO.format("vnet1"))
    other = VmId(VM.start_ns + 1, PID)
    known.look(1000.0, [other])
    assert known.of(other) == {30: "vnet1"}


def test_many_take_turns(tmp_path: Path) -> None:
    """Taps that are gone, others that came in their place: a part each time, all in a minute."""
    vms = [VmId(0, pid) for pid in range(100, 300)]
    for vm in vms:
        hold(tmp_path, {30: (TUN, INFO.format("old")), 31: ("/dev/kvm", "")}, vm.pid)
    known = Taps(tmp_path)
    known.look(1000.0, vms)
    assert [known.of(vm) for vm in vms] == [{30: "old"}] * 200
    for number, vm in enumerate(vms):
        (tmp_path / str(vm.pid) / "fd/30").unlink()
        (tmp_path / str(vm.pid) / "fdinfo/30").unlink()
        if number % 2:
            hold(tmp_path, {30: (TUN, INFO.format("new"))}, vm.pid)
    new = VmId(0, PID)
    hold(tmp_path, {7: (TUN, INFO.format("vnet0"))})
    old = []
    for now in (1015.0, 1030.0, 1045.0, 1060.0):
        known.look(now, [*vms, new])
        assert known.of(new) == {7: "vnet0"}
        old.append(sum(known.of(vm) == {30: "old"} for vm in vms))
    assert old[0] < 200
    assert old[1] < old[0]
    assert old[3] == 0
    assert [known.of(vm) for vm in vms] == [{}, {30: "new"}] * 100


def test_no_time_takes_all_descriptors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of VMMs that are known; those of which something changed come first."""
    vms = [VmId(0, pid) for pid in range(100, 140)]
    for vm in vms:
        hold(tmp_path, dict.fromkeys(range(10), ("anon_inode:[eventfd]", "")), vm.pid)
    read: list[int] = []
    links = os.readlink

    def count(path: str) -> str:
        read.append(int(path.split("/")[-3]))
        return links(path)

    monkeypatch.setattr(os, "readlink", count)
    known = Taps(tmp_path, most_descriptors=50)
    known.look(1000.0, vms)
    assert len(read) == 400, "all of them are new"
    turns = []
    for time in range(1, 9):
        read.clear()
        known.look(1000.0 + 15 * time, vms)
        assert len(read) == 50
        turns += sorted(set(read))
    assert sorted(turns) == [vm.pid for vm in vms]
    for vm in vms[20:31]:
        hold(tmp_path, {30: (TUN, INFO.format("vnet0"))}, vm.pid)
    for time in range(9, 13):
        read.clear()
        known.look(1000.0 + 15 * time, vms)
        assert len(read) <= 55, "one may have grown since"
    assert [vm for vm in vms if known.of(vm)] == vms[20:31]


def test_a_kernel_that_tells_how_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the directory's size: as many as before are not listed again."""
    vms = [VmId(0, pid) for pid in range(100, 103)]
    for vm in vms:
        hold(tmp_path, {fd: (TUN, INFO.format("vnet0")) for fd in range(vm.pid)}, vm.pid)
    known = Taps(tmp_path, most_descriptors=1)
    known.look(1000.0, vms)
    listed = []
    seen_size, seen_names = os.stat, os.listdir

    def size(path: str) -> os.stat_result:
        fields = list(seen_size(path))
        fields[6] = len(seen_names(path))
        return os.stat_result(fields)

    def names(path: str) -> list[str]:
        listed.append(path)
        return seen_names(path)

    monkeypatch.setattr(os, "stat", size)
    monkeypatch.setattr(os, "listdir", names)
    known.look(1015.0, vms)
    assert listed == [f"{tmp_path}/100/fd"], "it was its turn"


def test_real_descriptors() -> None:
    """This process's, as its kernel shows them; none is a tap."""
    vm = VmId(0, os.getpid())
    known = Taps(Path("/proc"))
    known.look(1000.0, [vm])
    assert known.of(vm) == {}
    assert not known.hides_some


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
    listed = os.listdir

    def refuse(path: str) -> list[str]:
        if Path(path).parent.name == str(PID):
            raise PermissionError
        return listed(path)

    monkeypatch.setattr(os, "listdir", refuse)
    known = Taps(tmp_path)
    hides = []
    for now, vms in ((1000.0, [OTHER]), (1001.0, [OTHER, VM]), (1002.0, [OTHER])):
        known.look(now, vms)
        assert [known.of(vm) for vm in vms] == [{}] * len(vms)
        hides.append(known.hides_some)
    assert hides == [False, True, False]


@pytest.mark.parametrize("call", ["readlink", "listdir", "open"])
def test_what_may_not_be_read_any_more(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As without CAP_SYS_PTRACE, once it is given up: what was seen before is all there is."""
    hold(tmp_path, {30: (TUN, INFO.format("vnet0"))})
    known = Taps(tmp_path)
    known.look(1000.0, [VM])
    assert known.of(VM) == {30: "vnet0"}

    def refuse(path: str, *_: int) -> str:
        raise PermissionError(path)

    with monkeypatch.context() as refused:
        refused.setattr(os, call, refuse)
        known.look(1060.0, [VM])
        assert known.of(VM) == {30: "vnet0"}
        assert known.hides_some
    known.look(1120.0, [VM])
    assert not known.hides_some
