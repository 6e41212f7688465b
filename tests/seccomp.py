# SPDX-License-Identifier: Apache-2.0
"""System call filters by libseccomp, each for this process and all that it becomes.

Source: seccomp_init(3), seccomp_rule_add(3); constants from seccomp.h of libseccomp 2.5.
"""

import ctypes
import errno
from collections.abc import Iterable

_ALLOW = 0x7FFF0000
_ERRNO = 0x00050000
_NE, _EQ, _MASKED_EQ = 1, 4, 7
_UNKNOWN = -1

_library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
_library.seccomp_init.restype = ctypes.c_void_p
_library.seccomp_init.argtypes = [ctypes.c_uint32]
_library.seccomp_load.argtypes = [ctypes.c_void_p]
_library.seccomp_release.argtypes = [ctypes.c_void_p]


class _Compare(ctypes.Structure):
    _fields_ = (
        ("argument", ctypes.c_uint),
        ("operator", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


_library.seccomp_rule_add_array.argtypes = [
    ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint, ctypes.POINTER(_Compare),
]  # fmt: skip


class Filter:
    """One filter, in force from `load` on.

    Args:
        refusal: the errno of what is not allowed, where the rules say what is.
    """

    def __init__(self, refusal: int | None = None) -> None:
        default = _ALLOW if refusal is None else _ERRNO | refusal
        self._context = _library.seccomp_init(default)

    def allow(self, calls: Iterable[str]) -> None:
        """Let through these calls; those that this machine does not have do not matter."""
        for call in calls:
            self._add(_ALLOW, call)

    def refuse(self, call: str, error: int = errno.EPERM) -> None:
        """Refuse a call."""
        self._add(_ERRNO | error, call)

    def refuse_value(self, call: str, argument: int, value: int, error: int = errno.EPERM) -> None:
        """Refuse a call with this value of an argument."""
        self._add(_ERRNO | error, call, _Compare(argument, _EQ, value, 0))

    def refuse_others(self, call: str, argument: int, value: int) -> None:
        """Refuse a call with any other value of an argument."""
        self._add(_ERRNO | errno.EPERM, call, _Compare(argument, _NE, value, 0))

    def refuse_bits(self, call: str, argument: int, bits: int) -> None:
        """Refuse a call with all of these bits in an argument."""
        self._add(_ERRNO | errno.EPERM, call, _Compare(argument, _MASKED_EQ, bits, bits))

    def load(self) -> None:
        """Put it in force."""
        _checked(_library.seccomp_load(self._context), "seccomp_load")
        _library.seccomp_release(self._context)

    def _add(self, action: int, call: str, *compared: _Compare) -> None:
        number = _library.seccomp_syscall_resolve_name(call.encode())
        if number == _UNKNOWN:
            return
        array = (_Compare * len(compared))(*compared)
        _checked(
            _library.seccomp_rule_add_array(self._context, action, number, len(compared), array),
            call,
        )


def _checked(result: int, what: str) -> None:
    if result < 0:
        raise OSError(-result, what)
