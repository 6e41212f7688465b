# SPDX-License-Identifier: Apache-2.0
"""Instructions that no library offers, as functions.

Their code is mapped from an anonymous file, so that no memory is ever writable and
executable, which hardened services are refused.
"""

import ctypes
import mmap
import os
import platform
import struct

_POINTER_BYTES = 8


def load(code: bytes) -> int | None:
    """Map code of x86-64, System V calling convention, for the life of the process.

    Returns:
        its address; None on another architecture, in a process of 32 bits, or where it may not be
        mapped.
    """
    # The machine is the kernel's: this process may be of 32 bits.
    if platform.machine() not in ("x86_64", "AMD64") or struct.calcsize("P") != _POINTER_BYTES:
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [
        ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long,
    ]  # fmt: skip
    try:
        fd = os.memfd_create("code", os.MFD_CLOEXEC)
    except OSError:
        return None
    try:
        os.write(fd, code)
        address = libc.mmap(
            None, mmap.PAGESIZE, mmap.PROT_READ | mmap.PROT_EXEC, mmap.MAP_PRIVATE, fd, 0
        )
    finally:
        os.close(fd)
    return None if address in (None, ctypes.c_void_p(-1).value) else int(address)
