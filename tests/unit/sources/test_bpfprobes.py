# SPDX-License-Identifier: Apache-2.0
"""Asking the loader child, with interpreters that cannot do it."""

import os
import socket
import struct
import sys
from pathlib import Path

import psutil
import pytest

from kvmexporter.bpf.request import PROGRAMS
from kvmexporter.errors import KvmExporterError, Unavailable
from kvmexporter.sources.bpfmaps import MapLayout
from kvmexporter.sources.bpfprobes import BpfProbes, ProgramRuns, ProgramState, load
from tests.unit.vcpu_records import MemoryMap

try:
    import bcc  # noqa: F401 - whether it can be is the question
except ImportError:
    _HAS_BCC = False
else:
    _HAS_BCC = True


def program(directory: Path, text: str) -> str:
    """An executable in the place of an interpreter."""
    place = directory / "interpreter"
    place.write_text(text)
    place.chmod(0o755)
    return str(place)


_ANSWER = """
import socket, struct, sys
channel = socket.socket(fileno=int(sys.argv[4]))
left = struct.unpack("!I", channel.recv(4, socket.MSG_WAITALL))[0]
channel.recv(left, socket.MSG_WAITALL)
channel.sendall(bytes.fromhex("{answer}"))
"""


def answering(directory: Path, answer: bytes) -> str:
    """One that takes the request and answers with these bytes."""
    script = directory / "answer.py"
    script.write_text(_ANSWER.format(answer=answer.hex()))
    return program(directory, f'#!/bin/sh\nexec {sys.executable} {script} "$@"\n')


def test_no_such_interpreter() -> None:
    """The remedy names the flag."""
    with pytest.raises(Unavailable, match=r"/no/such/python") as caught:
        load(PROGRAMS, 16, python="/no/such/python")
    assert "--bpf.python" in caught.value.remedy


@pytest.mark.skipif(_HAS_BCC, reason="this interpreter has bcc")
def test_an_interpreter_without_bcc() -> None:
    """The reason names it, the remedy the packages."""
    with pytest.raises(Unavailable) as caught:
        load(PROGRAMS, 16, python=sys.executable)
    assert caught.value.reason == f"no bcc in {sys.executable}"
    assert "python3-bpfcc" in caught.value.remedy


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("exit 3", "it ended without an answer|Broken pipe|Connection reset"),
        ("echo first >&2; echo the last words >&2; exit 1", "the last words"),
        ("echo '\\377\\376' >&2; exit 1", "�"),
        ("kill -9 $$", "it ended without an answer|Broken pipe|Connection reset"),
    ],
)
def test_a_loader_that_dies(tmp_path: Path, script: str, complaint: str) -> None:
    """One line says which and what it said last, and no descriptor stays open."""
    interpreter = program(tmp_path, f"#!/bin/sh\n{script}\n")
    before = psutil.Process().num_fds()
    with pytest.raises(KvmExporterError, match=f"the BPF loader .*/interpreter.* ({complaint})"):
        load(PROGRAMS, 16, python=interpreter)
    assert psutil.Process().num_fds() == before


def message(text: bytes) -> bytes:
    return struct.pack("!I", len(text)) + text


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"", "without an answer"),
        (b"\0\0", "without an answer"),
        (struct.pack("!I", 100) + b"{", "without an answer"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "a message of 1213486160 bytes"),
        (message(b"not JSON"), "Expecting value"),
        (message(b'{"fds": ["map:vcpus"]}'), "promised 1 descriptors and sent 0"),
    ],
)
def test_an_answer_that_makes_no_sense(tmp_path: Path, answer: bytes, complaint: str) -> None:
    """It is refused with its reason, never half believed."""
    with pytest.raises(KvmExporterError, match=complaint):
        load(PROGRAMS, 16, python=answering(tmp_path, answer))


def test_what_the_loader_refuses(tmp_path: Path) -> None:
    """Its reason and remedy come through as they are."""
    refusal = message(b'{"error": {"reason": "no permission", "remedy": "run as root"}}')
    with pytest.raises(Unavailable) as caught:
        load(PROGRAMS, 16, python=answering(tmp_path, refusal))
    assert (caught.value.reason, caught.value.remedy) == ("no permission", "run as root")


def test_close_gives_everything_back() -> None:
    """The programs' and links' descriptors; safe to repeat."""
    ends = [end.detach() for end in socket.socketpair()]
    states = [ProgramState("kvm_pio", True, "")]
    vcpus = MemoryMap("vcpus", MapLayout(4, 8, 1, {}))
    with BpfProbes({"vcpus": vcpus}, states, dict(zip("ab", ends, strict=True))) as probes:
        assert probes.programs == tuple(states)
        for fd in ends:
            os.fstat(fd)
    for fd in ends:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(fd)
    probes.close()


def test_statistics_are_of_programs_alone() -> None:
    """Links and maps have none; a descriptor without statistics has zeros, and says no more."""
    descriptors = {
        name: os.open("/dev/null", os.O_RDONLY)
        for name in ("program:on_kvm_pio", "link:on_kvm_pio")
    }
    with BpfProbes({}, (), descriptors) as probes:
        assert probes.runs() == {"kvm_pio": ProgramRuns(0, 0, None)}


@pytest.mark.parametrize(
    ("more", "runs"),
    [
        ("", ProgramRuns(0, 0, None)),
        ("run_time_ns:\t401\nrun_cnt:\t7\n", ProgramRuns(7, 401, None)),
        ("run_time_ns:\t0\nrun_cnt:\t0\nrecursion_misses:\t0\n", ProgramRuns(0, 0, 0)),
        ("run_time_ns:\t0\nrun_cnt:\t0\nrecursion_misses:\t3\n", ProgramRuns(0, 0, 3)),
    ],
    ids=["none", "before-5.12", "none-missed", "some-missed"],
)
def test_what_the_kernel_says_of_a_program(more: str, runs: ProgramRuns) -> None:
    """What it does not count is not zero."""
    fdinfo = f"pos:\t0\nflags:\t02000002\nprog_type:\t17\nprog_jited:\t1\n{more}"
    assert ProgramRuns.of(fdinfo) == runs
