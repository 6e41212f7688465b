# SPDX-License-Identifier: Apache-2.0
"""Has glibc keep less of the memory that was given back to it.

By default each thread allocates from an arena of its own, up to eight a processor, and none
of them ever shrinks by much: a server whose threads take turns under the interpreter's lock
gains nothing by that and grows with every thread that works for the first time.

Source: mallopt(3), malloc_trim(3), numbers from malloc.h, glibc 2.36.
"""

import contextlib
import ctypes

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

_LARGE_BYTES = 64 * 1024


def keep_little() -> None:
    """Allocate from one arena, and give what is large back at once; for the whole process.

    To be called before the first thread starts. Does nothing where the C library has no such
    settings.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:  # musl
        return
    mallopt(_M_ARENA_MAX, 1)
    mallopt(_M_TRIM_THRESHOLD, _LARGE_BYTES)
    mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def give_back() -> None:
    """Return what is free to the system, also from between what is in use."""
    with contextlib.suppress(AttributeError):  # musl
        ctypes.CDLL(None).malloc_trim(0)
