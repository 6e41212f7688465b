# SPDX-License-Identifier: Apache-2.0
"""Giving up privileges, in processes of their own."""

import os
import re
import subprocess
import sys

import pytest

from kvmexporter.sources.privilege import permitted

NOBODY = 65534
SHOW = "; print(open('/proc/self/status').read())"


def become(arguments: str, then: str = SHOW, prefix: tuple[str, ...] = ()) -> str:
    done = subprocess.run(
        [*prefix, sys.executable, "-c",
         "import os\nfrom kvmexporter.sources.privilege import *\n"
         f"from kvmexporter.sources.privilege import CAP_SYS_PTRACE\nbecome({arguments}){then}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


@pytest.fixture(autouse=True)
def _root() -> None:
    if os.geteuid():
        pytest.skip("giving up root takes root")


def capabilities(status: str) -> dict[str, int]:
    found = re.findall(r"^(Cap\w+):\s*([0-9a-f]+)$", status, re.MULTILINE)
    return {name: int(bits, 16) for name, bits in found}


def test_nothing_is_left() -> None:
    """Of a root that becomes somebody, for good."""
    status = become(f"{NOBODY}, {NOBODY}")
    assert re.search(rf"^Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}$", status, re.MULTILINE)
    assert re.search(r"^Groups:\t\s*$", status, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\t1$", status, re.MULTILINE)
    assert set(capabilities(status).values()) == {0}


def test_what_is_kept_is_kept_alone() -> None:
    """In no set that a program started later would inherit."""
    found = capabilities(become(f"{NOBODY}, {NOBODY}, [CAP_SYS_PTRACE]"))
    assert found["CapPrm"] == found["CapEff"] == 1 << 19
    assert found["CapInh"] == found["CapAmb"] == 0


def test_who_is_nobody_but_has_capabilities() -> None:
    """As a service with ambient capabilities is; they go, too."""
    prefix = (
        *("setpriv", "--reuid", "65530", "--regid", "65530", "--clear-groups"),
        *("--inh-caps", "-all,+sys_ptrace", "--ambient-caps", "-all,+sys_ptrace"),
    )
    before = capabilities(become("65530, 65530, [CAP_SYS_PTRACE]", prefix=prefix))
    assert (before["CapPrm"], before["CapAmb"]) == (1 << 19, 0)
    after = capabilities(become("65530, 65530", prefix=prefix))
    assert (after["CapPrm"], after["CapEff"], after["CapAmb"], after["CapInh"]) == (0, 0, 0, 0)


def test_there_is_no_way_back() -> None:
    """Neither to root nor to a capability."""
    assert "PermissionError" in become(f"{NOBODY}, {NOBODY}", "; os.setuid(0)")
    assert "PermissionError" in become(f"{NOBODY}, {NOBODY}", "; become(0, 0)")


def test_what_this_process_has() -> None:
    """As many as the kernel says."""
    with open("/proc/self/status") as file:  # noqa: PTH123 - one line
        bits = re.search(r"^CapPrm:\s*([0-9a-f]+)$", file.read(), re.MULTILINE)
    assert bits
    assert sum(1 << number for number in permitted()) == int(bits[1], 16)
