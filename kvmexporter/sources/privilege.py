# SPDX-License-Identifier: Apache-2.0
"""Giving up privileges for good, or all but a few of them.

Source: capabilities(7), prctl(2), capset(2); numbers from linux/capability.h and
linux/prctl.h, Linux 6.12. What is called here by number goes for the calling thread alone;
setresuid(2) goes for all threads.
"""

import ctypes
import os
import re
import signal
import struct
from collections.abc import Iterable
from pathlib import Path

CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2
CAP_SETPCAP = 8
CAP_SYS_PTRACE = 19

_LAST_CAPABILITY = 63
_PR_SET_PDEATHSIG = 1
_PR_SET_KEEPCAPS = 8
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


def permitted(status: Path = Path("/proc/thread-self/status")) -> frozenset[int]:
    """The capabilities that this thread may use."""
    found = re.search(r"^CapPrm:\s*([0-9a-f]+)$", status.read_text(), re.MULTILINE)
    bits = int(found[1], 16) if found else 0
    return frozenset(number for number in range(_LAST_CAPABILITY + 1) if bits >> number & 1)


def become(uid: int, gid: int, kept: Iterable[int] = ()) -> None:
    """Become another user, for good, in all threads; keep these capabilities in this thread.

    Whoever is that user already just loses what is not kept. Nothing that is executed later
    gains any privilege.

    Raises:
        PermissionError: this process may not.
    """
    kept = frozenset(kept) & permitted()
    if CAP_SETPCAP in permitted():
        for number in range(_LAST_CAPABILITY + 1):
            if number not in kept:
                _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)  # fails for those that are none
    if os.getresuid() != (uid, uid, uid):
        if kept:
            _prctl(_PR_SET_KEEPCAPS, 1)
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _capset(kept)


def die_with_parent() -> None:
    """Be killed when the thread that started this process ends. Credentials are set before."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, argument: int) -> None:
    if _libc.prctl(option, argument, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")


def _capset(kept: Iterable[int]) -> None:
    bits = sum(1 << number for number in kept)
    low, high = bits & 0xFFFFFFFF, bits >> 32
    header = struct.pack("=Ii", _CAPABILITY_VERSION_3, 0)
    # Effective, permitted, inheritable; first of the lower 32, then of the others.
    data = struct.pack("=6I", low, low, 0, high, high, 0)
    if _libc.capset(header, data):
        number = ctypes.get_errno()
        raise OSError(number, f"capset: {os.strerror(number)}")
