# SPDX-License-Identifier: Apache-2.0
"""Compiled programs that are kept: whom they are taken from, and that they are used."""

import os
import struct
from pathlib import Path

import pytest

from kvmexporter.bpf import image
from kvmexporter.sources.bpfmaps import BpfMap, MapLayout
from tests.unit.bpf.test_loader import SOURCE, SYSTEM_PYTHON, ask, for_real, request
from tests.unit.vcpu_records import no_kernel_maps

IMAGE: image.Image = {
    "maps": {
        "numbers": {
            "map_type": 1, "key_size": 4, "value_size": 4, "max_entries": 3, "map_flags": 0,
            "fields": {},
        }
    },
    "programs": {"on_event": "b7" + 7 * "00" + "95" + 7 * "00"},
}  # fmt: skip
NOBODY = 65534

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="nothing is kept but by root")
with_bpf = pytest.mark.skipif(bool(no_kernel_maps()), reason=no_kernel_maps() or "bpf(2) works")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Where nothing has been kept yet."""
    return tmp_path / "cache"


@as_root
def test_what_is_kept_is_found_again(directory: Path) -> None:
    """By its key alone, in a directory that root alone may look into."""
    image.keep(directory, "key", IMAGE)
    assert image.read(directory, "key") == IMAGE
    assert image.read(directory, "other") is None
    assert directory.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in directory.iterdir()] == ["key"]


def test_nothing_there(directory: Path) -> None:
    """Then nothing is found."""
    assert image.read(directory, "key") is None


@as_root
@pytest.mark.parametrize("which", ["directory", "file"])
@pytest.mark.parametrize("wrong", ["owner", "group", "others"])
def test_what_others_could_have_written(directory: Path, which: str, wrong: str) -> None:
    """It is not taken, for it would become part of the kernel."""
    image.keep(directory, "key", IMAGE)
    path = directory if which == "directory" else directory / "key"
    if wrong == "owner":
        os.chown(path, NOBODY, NOBODY)
    else:
        path.chmod(path.stat().st_mode | (0o020 if wrong == "group" else 0o002))
    assert image.read(directory, "key") is None


@as_root
def test_nothing_is_kept_where_others_may_write(directory: Path) -> None:
    """Not even once."""
    directory.mkdir()
    directory.chmod(0o777)
    image.keep(directory, "key", IMAGE)
    assert list(directory.iterdir()) == []


@as_root
def test_links_are_not_followed(directory: Path, tmp_path: Path) -> None:
    """Neither to a file nor to a directory."""
    image.keep(directory, "key", IMAGE)
    (directory / "link").symlink_to(directory / "key")
    (tmp_path / "elsewhere").symlink_to(directory)
    assert image.read(directory, "link") is None
    assert image.read(tmp_path / "elsewhere", "key") is None


@as_root
def test_what_was_cut_short(directory: Path) -> None:
    """Is as if it were not there."""
    image.keep(directory, "key", IMAGE)
    data = (directory / "key").read_bytes()
    for size in (0, 64, len(data) - 1):
        (directory / "key").write_bytes(data[:size])
        assert image.read(directory, "key") is None


@as_root
def test_a_few_are_kept(directory: Path) -> None:
    """The newest."""
    for number in range(11):
        image.keep(directory, str(number), IMAGE)
        os.utime(directory / str(number), (number, number))
    assert sorted(int(path.name) for path in directory.iterdir()) == list(range(3, 11))


def test_keys() -> None:
    """Every part counts."""
    keys = {image.key_of("a", {"b": 1}), image.key_of("a", {"b": 2}), image.key_of("b", {"b": 1})}
    assert len(keys) == 3
    assert image.key_of("a", {"b": 1}) in keys


@with_bpf
def test_maps_and_programs_are_made_of_it() -> None:
    """By the kernel: the map takes rows, and the program loads."""
    maps = image.make_maps(IMAGE)
    with BpfMap("numbers", maps["numbers"], MapLayout(4, 4, 3, {})) as numbers:
        image.fill(maps["numbers"], {"5": 7, "11": 13})
        content = {struct.unpack("I", k)[0]: struct.unpack("I", v)[0] for k, v in numbers.items()}
        program = image.load(IMAGE, maps, "on_event", "raw")
        kind = Path(f"/proc/self/fd/{program}").readlink()
        os.close(program)
    assert content == {5: 7, 11: 13}
    assert str(kind) == "anon_inode:bpf-prog"


@with_bpf
def test_what_the_verifier_refuses() -> None:
    """Its own words say why."""
    broken = IMAGE | {"programs": {"on_event": "95" + 7 * "00"}}  # returns what was never set
    with pytest.raises(OSError, match="R0"):
        image.load(broken, {}, "on_event", "raw")


@as_root
@for_real
def test_the_loader_uses_what_it_kept(directory: Path, tmp_path: Path) -> None:
    """The second time it loads what is in the file, whatever that is by then."""
    source = tmp_path / "small.bpf.c"
    source.write_text(SOURCE)
    asked = request(source, cache=str(directory))
    first = _loaded(asked)
    (kept,) = directory.iterdir()
    again = _loaded(asked)
    assert again == first
    assert first["on_sched_process_exit"]["attached"]
    changed = image.read(directory, kept.name)
    assert changed
    del changed["programs"]["on_sched_process_exit"]
    image.keep(directory, kept.name, changed)
    assert not _loaded(asked)["on_sched_process_exit"]["attached"]


@as_root
@for_real
def test_another_source_is_another_key(directory: Path, tmp_path: Path) -> None:
    """What was kept for one is not loaded for the other."""
    source = tmp_path / "small.bpf.c"
    source.write_text(SOURCE)
    _loaded(request(source, cache=str(directory)))
    source.write_text(SOURCE + "\n")
    _loaded(request(source, cache=str(directory)))
    _loaded(request(source, cache=str(directory), defines={"COUNT": "5"}))
    assert len(list(directory.iterdir())) == 3


def _loaded(asked: dict[str, object]) -> dict[str, dict[str, bool | str]]:
    answer, fds = ask(SYSTEM_PYTHON, asked)
    for fd in fds:
        os.close(fd)
    programs: dict[str, dict[str, bool | str]] = answer["programs"]
    return programs
