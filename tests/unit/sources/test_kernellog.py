# SPDX-License-Identifier: Apache-2.0
"""The kernel's log: real, and record by record through a pipe that keeps boundaries."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvmexporter.errors import Unavailable
from kvmexporter.sources.kernellog import KernelLog

Pipe = tuple[KernelLog, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """A log and the end that records are written to; a read returns one, as in /dev/kmsg."""
    reader, writer = os.pipe2(os.O_DIRECT | os.O_NONBLOCK | os.O_CLOEXEC)
    log = KernelLog(reader)
    yield log, writer
    log.close()
    os.close(writer)


@pytest.fixture
def kmsg() -> Iterator[KernelLog]:
    """This system's log."""
    try:
        log = KernelLog.open()
    except Unavailable as err:
        pytest.skip(str(err))
    yield log
    log.close()


def test_one_message_a_record(pipe: Pipe) -> None:
    """The text alone, its attached dictionary left out; nothing twice."""
    log, writer = pipe
    os.write(writer, b"6,1,0,-;clocksource: Switched to clocksource tsc\n")
    os.write(writer, b"4,2,77,-;usb 1-1: new device; high-speed\n SUBSYSTEM=usb\n DEVICE=+usb:1\n")
    assert log.read() == [
        "clocksource: Switched to clocksource tsc",
        "usb 1-1: new device; high-speed",
    ]
    assert log.read() == []


@pytest.mark.parametrize(
    "record",
    [
        b"12,5,9,-;clocksource: Switched to clocksource hpet\n",  # LOG_USER
        b"30,5,9,-;clocksource: Switched to clocksource hpet\n",  # LOG_DAEMON
        b"no header\n",
        b"-1,2,3,-;negative\n",
        b";empty\n",
        b"\xff\xfe,2;binary\n",
    ],
)
def test_only_the_kernel_is_believed(pipe: Pipe, record: bytes) -> None:
    """What a program wrote, and what is no record, is left out; what follows is not."""
    log, writer = pipe
    os.write(writer, record)
    os.write(writer, b"6,6,9,-;from the kernel\n")
    assert log.read() == ["from the kernel"]


def test_undecodable_text(pipe: Pipe) -> None:
    """Never an error."""
    log, writer = pipe
    os.write(writer, b"6,1,0,-;\xff\xfe\n")
    assert log.read() == ["\ufffd\ufffd"]


def test_absent(tmp_path: Path) -> None:
    """Told with its remedy."""
    with pytest.raises(Unavailable, match=r"kmsg: No such file.*CAP_SYSLOG"):
        KernelLog.open(tmp_path / "kmsg")


def test_this_system_from_its_beginning(kmsg: KernelLog) -> None:
    """The whole ring buffer at once, as far back as it goes, then only what is new."""
    messages = subprocess.run(
        ["dmesg", "--kernel", "--notime"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert len(messages) > 100
    told = kmsg.read()
    assert any("clocksource" in text for text in told) == any(
        "clocksource" in text for text in messages
    )
    # The very first may be forgotten in between, and dmesg breaks a message of several lines.
    assert len(set(messages[50:100]) - set(told)) <= 5
    assert len(kmsg.read()) < 100


def test_a_program_cannot_pretend(kmsg: KernelLog) -> None:
    """A real message written by root is not the kernel's."""
    kmsg.read()
    text = "clocksource: Switched to clocksource a-test-of-kvmexporter"
    try:
        Path("/dev/kmsg").write_text(text)
    except PermissionError:
        pytest.skip("writing to /dev/kmsg takes root")
    assert text not in kmsg.read()


def test_too_many_are_skipped(kmsg: KernelLog) -> None:
    """After as many as it may read, the next call begins with what is new."""
    assert len(kmsg.read(at_most=3)) <= 3
    assert len(kmsg.read()) < 100
