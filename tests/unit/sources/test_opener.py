# SPDX-License-Identifier: Apache-2.0
"""The opener as a real process; with a real QEMU it is in tests/kvm/test_privilege.py."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from kvmexporter.errors import KvmExporterError
from kvmexporter.sources.opener import Opener
from kvmexporter.sources.procfs import KvmDescriptors

NOBODY = 65534
WAIT_SECONDS = 15.0
STARTS_ONE = (
    "import sys; from kvmexporter.sources.opener import Opener\n"
    f"opener = Opener({NOBODY}, {NOBODY})\n"
    "print(opener._child.pid, flush=True); sys.stdin.read()"
)


@pytest.fixture
def opener() -> Iterator[Opener]:
    if os.geteuid():
        pytest.skip("becoming another user takes root")
    with Opener(NOBODY, NOBODY) as made:
        yield made


def child() -> psutil.Process:
    (found,) = psutil.Process().children()
    return found


def test_it_has_two_capabilities_and_nothing_else(opener: Opener) -> None:
    """Another user, no descriptor but the channel, little memory."""
    status = Path(f"/proc/{child().pid}/status").read_text()
    assert re.search(rf"^Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}$", status, re.MULTILINE)
    assert re.search(r"^CapPrm:\t0000000000080002$", status, re.MULTILINE)
    assert re.search(r"^CapEff:\t0000000000080002$", status, re.MULTILINE)
    assert re.search(r"^CapInh:\t0+$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    assert child().num_fds() == 4
    assert child().memory_info().rss < 24 << 20
    assert opener.kvm_descriptors(os.getpid()) == KvmDescriptors(0, 0)


def test_it_refuses_what_is_no_vm(opener: Opener) -> None:
    """And goes on."""
    for _ in range(3):
        with pytest.raises(KvmExporterError, match="is no QEMU with a VM"):
            opener.connect(os.getpid())
    assert os.getpid() not in opener.kvm_processes().found
    assert opener.kvm_processes().is_complete


def test_it_dies_with_its_parent() -> None:
    """Even if that is killed."""
    if os.geteuid():
        pytest.skip("becoming another user takes root")
    with subprocess.Popen(
        [sys.executable, "-c", STARTS_ONE], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        assert psutil.pid_exists(pid)
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + WAIT_SECONDS
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_answer_that_comes_too_late(opener: Opener) -> None:
    """It is nobody's; the questions after it have their own, and the child stays."""
    opener._channel.settimeout(0.2)
    child().suspend()
    for _ in range(3):
        with pytest.raises(PermissionError, match=r"did not answer within 0\.2 s"):
            opener.kvm_processes()
    with pytest.raises(KvmExporterError, match=r"did not answer within 0\.2 s"):
        opener.connect(os.getpid())
    child().resume()
    opener._channel.settimeout(WAIT_SECONDS)
    with pytest.raises(KvmExporterError, match="is no QEMU with a VM"):
        opener.connect(os.getpid())
    assert opener.kvm_descriptors(os.getpid()) == KvmDescriptors(0, 0)
    assert opener.kvm_processes().is_complete


def test_when_it_is_gone(opener: Opener) -> None:
    """Every question says so; nobody waits for an answer."""
    child().send_signal(signal.SIGKILL)
    for _ in range(2):
        with pytest.raises(KvmExporterError, match="the opener child is gone"):
            opener.connect(1)
        with pytest.raises(PermissionError):
            opener.kvm_processes()
