# SPDX-License-Identifier: Apache-2.0
"""The loader child, run as the server runs it: refusals, and a small program for real."""

import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from kvmexporter.bpf.loader import _find_headers, _RefusedError, _source_tree
from kvmexporter.bpf.request import LOADER
from kvmexporter.sources.bpfmaps import BpfMap, MapLayout
from tests.unit.vcpu_records import no_kernel_maps

SYSTEM_PYTHON = "/usr/bin/python3"
TIMEOUT_SECONDS = 60
SOURCE = """
#include <uapi/linux/ptrace.h>
struct pair { u32 first; u64 second[COUNT]; };
BPF_HASH(pairs, u32, struct pair, 7);
BPF_HASH(numbers, u32, u32, 16);
int on_sched_process_exit(struct bpf_raw_tracepoint_args *ctx) { return 0; }
int on_no_such_event(struct bpf_raw_tracepoint_args *ctx) { return 0; }
int on_no_such_record(struct bpf_raw_tracepoint_args *ctx) { return 0; }
"""


def ask(
    python: str, message: Mapping[str, Any], environment: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], list[int]]:
    """Start the loader, ask it once, see it end well."""
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            child = subprocess.Popen(
                [python, str(LOADER), str(theirs.fileno())],
                pass_fds=(theirs.fileno(),),
                env={"PATH": "/usr/bin:/bin", **(environment or {})},
            )
        ours.settimeout(TIMEOUT_SECONDS)
        data = json.dumps(message).encode()
        ours.sendall(struct.pack("!I", len(data)) + data)
        (size,) = struct.unpack("!I", ours.recv(4, socket.MSG_WAITALL))
        answer = json.loads(ours.recv(size, socket.MSG_WAITALL))
        fds = socket.recv_fds(ours, 1, 253)[1] if answer.get("fds") else []
        assert child.wait(TIMEOUT_SECONDS) == 0
    return answer, fds


def request(source: Path, **more: object) -> dict[str, Any]:
    program = {"kind": "raw", "category": "sched"}
    return {
        "sources": [str(source)],
        "defines": {"COUNT": "3"},
        "kernel_headers": None,
        "maps": ["pairs", "numbers"],
        "tables": {"numbers": {5: 7, 11: 13}},
        "programs": [
            {**program, "function": "on_sched_process_exit", "event": "sched_process_exit"},
            {**program, "function": "on_no_such_event", "event": "no_such_event"},
            {
                **program,
                "function": "on_no_such_record",
                "event": "no_such_record",
                "category": "no_such_category",
                "kind": "classic",
            },
        ],
        **more,
    }


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "small.bpf.c"
    path.write_text(SOURCE)
    return path


def _why_not_for_real() -> str:
    refused = no_kernel_maps()
    if refused:
        return refused
    found = subprocess.run(
        [SYSTEM_PYTHON, "-c", "import bcc; bcc.BPF"], capture_output=True, check=False
    )
    return "" if found.returncode == 0 else f"no bcc in {SYSTEM_PYTHON}"


_WHY_NOT = _why_not_for_real()
for_real = pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT or "bcc works")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[dict[str, Any], list[int]]]:
    path = tmp_path_factory.mktemp("loader") / "small.bpf.c"
    path.write_text(SOURCE)
    answer, fds = ask(SYSTEM_PYTHON, request(path))
    with ExitStack() as stack:
        for fd in fds:
            stack.callback(os.close, fd)
        yield answer, fds


@for_real
def test_the_manifest_tells_the_layout_of_the_c(loaded: tuple[dict[str, Any], list[int]]) -> None:
    """Sizes, offsets and elements as the compiler laid them out."""
    answer, _ = loaded
    assert "error" not in answer, answer
    assert answer["maps"] == {
        "pairs": {
            "key_size": 4,
            "value_size": 32,
            "max_entries": 7,
            "fields": {"first": [0, 4, 1], "__pad_1": [4, 4, 4], "second": [8, 24, 3]},
        },
        "numbers": {"key_size": 4, "value_size": 4, "max_entries": 16, "fields": {}},
    }
    assert 0 < answer["seconds"] < TIMEOUT_SECONDS
    assert Path(answer["headers"], "include/generated/autoconf.h").exists()


@for_real
def test_one_probe_that_is_missing_costs_no_other(
    loaded: tuple[dict[str, Any], list[int]],
) -> None:
    """Each says for itself whether it is attached, and why not."""
    programs = loaded[0]["programs"]
    assert programs["on_sched_process_exit"] == {"attached": True, "reason": ""}
    for name in ("on_no_such_event", "on_no_such_record"):
        assert programs[name]["attached"] is False
        assert programs[name]["reason"] != ""


@for_real
def test_the_descriptors_are_what_they_are_called(
    loaded: tuple[dict[str, Any], list[int]],
) -> None:
    """In the manifest's order; tables are written before anything is attached."""
    answer, fds = loaded
    kinds = [str(Path(f"/proc/self/fd/{fd}").readlink()) for fd in fds]
    assert answer["fds"] == [
        "map:pairs",
        "map:numbers",
        "program:on_sched_process_exit",
        "link:on_sched_process_exit",
    ]
    assert kinds[:3] == ["anon_inode:bpf-map", "anon_inode:bpf-map", "anon_inode:bpf-prog"]
    assert kinds[3] in ("anon_inode:bpf_link", "anon_inode:bpf-raw-tracepoint")
    with BpfMap("numbers", os.dup(fds[1]), MapLayout(4, 4, 16, {})) as numbers:
        content = {struct.unpack("I", k)[0]: struct.unpack("I", v)[0] for k, v in numbers.items()}
    assert content == {5: 7, 11: 13}


@for_real
def test_c_that_does_not_compile(tmp_path: Path) -> None:
    """The refusal says with which headers."""
    path = tmp_path / "broken.bpf.c"
    path.write_text("this is no C\n")
    answer, fds = ask(SYSTEM_PYTHON, request(path))
    assert fds == []
    assert "do not compile with the headers in /" in answer["error"]["reason"]


@for_real
def test_headers_that_are_not_there(tmp_path: Path, source: Path) -> None:
    """The refusal names the directory that was asked for."""
    answer, _ = ask(SYSTEM_PYTHON, request(source, kernel_headers=str(tmp_path)))
    assert answer["error"]["reason"] == f"no kernel headers in {tmp_path}"


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("raise ImportError('libbcc.so.0')", "no bcc in {python}"),
        (
            "pure_python = True",
            "the bcc module in {python} is not the BPF Compiler Collection",
        ),
    ],
)
def test_a_bcc_that_is_none(tmp_path: Path, source: Path, module: str, reason: str) -> None:
    """One that is broken, and the unrelated package of that name."""
    (tmp_path / "bcc.py").write_text(module)
    answer, _ = ask(sys.executable, request(source), {"PYTHONPATH": str(tmp_path)})
    assert answer["error"]["reason"] == reason.format(python=sys.executable)
    assert "python3-bpfcc" in answer["error"]["remedy"]


def headers(build: Path, source: Path | None = None) -> Path:
    """A tree of kernel headers."""
    (build / "include/generated").mkdir(parents=True)
    (build / "include/generated/autoconf.h").touch()
    if source:
        (source / "include/linux").mkdir(parents=True)
        (source / "include/linux/kconfig.h").touch()
    return build


def test_headers_in_one_tree(tmp_path: Path) -> None:
    """A kernel that was built there."""
    tree = headers(tmp_path / "linux", tmp_path / "linux")
    assert _find_headers(str(tree)) == (tree, tree)


def test_headers_in_two_trees(tmp_path: Path) -> None:
    """Debian's: what all flavours share is in a tree beside."""
    common = tmp_path / "linux-headers-6.1.0-1-common"
    tree = headers(tmp_path / "linux-headers-6.1.0-1-amd64", common)
    assert _find_headers(str(tree)) == (tree, common)


def test_headers_with_build_and_source(tmp_path: Path) -> None:
    """/lib/modules/VERSION of other distributions."""
    tree = headers(tmp_path / "build", tmp_path / "source")
    assert _find_headers(str(tree)) == (tree, tmp_path / "source")


def test_headers_whose_makefile_points_elsewhere(tmp_path: Path) -> None:
    """Debian's when the names do not tell."""
    tree = headers(tmp_path / "custom", tmp_path / "shared")
    (tree / "Makefile").write_text(f"# made\ninclude {tmp_path}/shared/Makefile\n")
    assert _find_headers(str(tree)) == (tree, tmp_path / "shared")


def test_headers_behind_a_link(tmp_path: Path) -> None:
    """/lib/modules/VERSION/build is one."""
    common = tmp_path / "linux-headers-6.1.0-1-common"
    tree = headers(tmp_path / "linux-headers-6.1.0-1-amd64", common)
    (tmp_path / "build").symlink_to(tree)
    assert _find_headers(str(tmp_path / "build")) == (tree, common)


@pytest.mark.parametrize("made", ["nothing", "generated", "half"])
def test_headers_that_are_none(tmp_path: Path, made: str) -> None:
    """A tree without its other half is of no use."""
    if made == "generated":
        headers(tmp_path / "tree")
    elif made == "half":
        (tmp_path / "tree/include/linux").mkdir(parents=True)
        (tmp_path / "tree/include/linux/kconfig.h").touch()
    with pytest.raises(_RefusedError, match=f"no kernel headers in {tmp_path}/tree"):
        _find_headers(str(tmp_path / "tree"))
    assert made == "half" or _source_tree(tmp_path / "tree") is None
