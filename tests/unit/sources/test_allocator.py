# SPDX-License-Identifier: Apache-2.0
"""What the C library itself says of its arenas, and the kernel of its pages, in own processes."""

import subprocess
import sys

import pytest

THREADS = 7

# What eight threads that allocate at the same time leave behind: malloc_info(3).
_PROGRAM = """
import ctypes, sys, threading
from kvmexporter.sources.allocator import keep_little
if sys.argv[1] == "little":
    keep_little()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
together = threading.Barrier(int(sys.argv[2]))
def work():
    together.wait()
    taken = [libc.malloc(1000) for _ in range(100)]
    together.wait()
    for one in taken:
        libc.free(one)
threads = [threading.Thread(target=work) for _ in range(int(sys.argv[2]))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


def arenas(setting: str) -> int:
    command = [sys.executable, "-c", _PROGRAM, setting, str(THREADS)]
    return subprocess.check_output(command, text=True).count("<heap nr=")


@pytest.mark.parametrize(("setting", "more_than_one"), [("little", False), ("as it was", True)])
def test_arenas(setting: str, more_than_one: bool) -> None:
    """One for all threads; as many as there are threads and processors without the setting."""
    assert (arenas(setting) > 1) == more_than_one


# Every other one of many blocks is freed: a resident size before and after giving back, KiB.
_HOLES = """
import ctypes
from kvmexporter.sources.allocator import give_back
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4
blocks = [libc.malloc(32768) for _ in range(1000)]
for block in blocks:
    libc.memset(block, 1, 32768)
for block in blocks[::2]:
    libc.free(block)
before = resident()
give_back()
print(before - resident())
"""


def test_give_back() -> None:
    """Half of 32 MiB lies between what is in use; nearly all of it can be returned."""
    given = int(subprocess.check_output([sys.executable, "-c", _HOLES], text=True))
    assert given > 13 * 1024
