# SPDX-License-Identifier: Apache-2.0
"""`doctor` on this host, and where something of it is really taken away."""

import json
import subprocess
from collections.abc import Sequence
from typing import Any

import pytest

from tests.guest.requirements import require_kvm
from tests.kvm.exporter import COMMAND
from tests.kvm.test_missing import NO_BCC, NO_HEADERS, NO_KVM_EXIT, NO_PRIVILEGE

CONTAINER = ["unshare", "--pid", "--fork", "--mount-proc"]


@pytest.fixture(autouse=True)
def _kvm() -> None:
    require_kvm()


def examined(*arguments: str, prefix: Sequence[str] = ()) -> tuple[int, dict[str, Any]]:
    """Exit code, and name → line of needs and collectors."""
    command = [*prefix, COMMAND, "doctor", "--format", "json", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stderr == ""
    document = json.loads(done.stdout)
    return done.returncode, {one["name"]: one for one in document["needs"] + document["collectors"]}


def test_a_host_that_has_it_all() -> None:
    """Counting works, and asking for it is no failure."""
    code, lines = examined("--collector.exits", "--collector.io", "--collector.vms")
    assert code == 0
    for name in ("kvm", "pid-namespace", "bcc", "kernel-headers", "bpf", "tracefs", "exits", "vms"):
        assert lines[name]["state"] == "ok", lines[name]


@pytest.mark.parametrize(
    ("prefix", "need", "state"),
    [
        (NO_BCC, "bcc", "missing"),
        (NO_HEADERS, "kernel-headers", "missing"),
        (NO_PRIVILEGE, "capabilities", "degraded"),
        (NO_KVM_EXIT, "tracepoints", "degraded"),
        (CONTAINER, "pid-namespace", "missing"),
    ],
    ids=["no-bcc", "no-headers", "no-privilege", "no-tracepoint", "container"],
)
def test_what_was_taken_away_is_named(prefix: list[str], need: str, state: str) -> None:
    """With what mends it on each platform; who asked for what needs it learns by the exit code."""
    code, lines = examined("--collector.exits", prefix=prefix)
    assert lines[need]["state"] == state
    assert set(lines[need]["remedies"]) == {"debian", "ubuntu", "fedora", "proxmox", "container"}
    expected = "degraded" if need == "tracepoints" else "missing"
    assert lines["exits"]["state"] == expected
    assert need in lines["exits"]["lacks"]
    assert code == (1 if expected == "missing" else 0)
