# SPDX-License-Identifier: Apache-2.0
"""Which features of the host's NICs are on, as ethtool(8) shows them: by ioctl, some 10 µs a NIC.

Source: include/uapi/linux/ethtool.h; SIOCETHTOOL with ETHTOOL_GFEATURES, since Linux 2.6.39, and
ETHTOOL_GSTRINGS for the names. Nobody has to be root. The same by netlink and pyroute2 took 10 MiB
and hundreds of times as long, for hundreds of taps more than all else that a scrape does.
"""

import ctypes
import fcntl
import socket
import struct
from collections.abc import Iterable, Mapping
from functools import cache

from kvmexporter.errors import Unavailable

_SIOCETHTOOL = 0x8946
_GSTRINGS, _GSSET_INFO, _GFEATURES = 0x1B, 0x37, 0x3A
_SS_FEATURES = 4
_NAME_BYTES = 32
_IFNAME_BYTES = 16
_IFREQ_BYTES = 40
_BITS = 32
_MAX_FEATURES = 256

_SSET_INFO = struct.Struct("IIQI")  # cmd, reserved, sset_mask, data[0]
_STRINGS = struct.Struct("III")  # cmd, string_set, len; data follows
_FEATURES = struct.Struct("II")  # cmd, size; blocks follow
_BLOCK = struct.Struct("IIII")  # available, requested, active, never_changed

# Every system has it, and all NICs share the names.
_ANY_NIC = "lo"


def active_features(nics: Iterable[str]) -> Mapping[str, frozenset[str]]:
    """The kernel's names of the features that are on, by NIC; NICs that are gone are left out.

    Raises:
        Unavailable: the kernel does not know what is asked.
    """
    found: dict[str, frozenset[str]] = {}
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
            names = _names(asked.fileno())
            for nic in nics:
                try:
                    found[nic] = _features(asked.fileno(), nic, names)
                except OSError:
                    continue
    except OSError as err:
        raise Unavailable(
            f"ethtool's ioctl is not to be had ({err})", "the network needs to be up: ip link"
        ) from err
    return found


def _features(fd: int, nic: str, names: tuple[str, ...]) -> frozenset[str]:
    blocks = -(-len(names) // _BITS)
    request = ctypes.create_string_buffer(_FEATURES.size + blocks * _BLOCK.size)
    _FEATURES.pack_into(request, 0, _GFEATURES, blocks)
    _ask(fd, nic, request)
    active = 0
    for number in range(blocks):
        _, _, bits, _ = _BLOCK.unpack_from(request, _FEATURES.size + number * _BLOCK.size)
        active |= bits << (number * _BITS)
    return frozenset(name for bit, name in enumerate(names) if active >> bit & 1)


@cache
def _known_names(count: int, texts: bytes) -> tuple[str, ...]:
    words = (texts[at * _NAME_BYTES : (at + 1) * _NAME_BYTES] for at in range(count))
    return tuple(word.split(b"\0")[0].decode(errors="replace") for word in words)


def _names(fd: int) -> tuple[str, ...]:
    """What each bit stands for."""
    info = ctypes.create_string_buffer(_SSET_INFO.size)
    _SSET_INFO.pack_into(info, 0, _GSSET_INFO, 0, 1 << _SS_FEATURES, 0)
    _ask(fd, _ANY_NIC, info)
    count = min(_SSET_INFO.unpack(info.raw)[3], _MAX_FEATURES)
    request = ctypes.create_string_buffer(_STRINGS.size + _MAX_FEATURES * _NAME_BYTES)
    _STRINGS.pack_into(request, 0, _GSTRINGS, _SS_FEATURES, count)
    _ask(fd, _ANY_NIC, request)
    return _known_names(count, request.raw[_STRINGS.size :])


def _ask(fd: int, nic: str, request: ctypes.Array[ctypes.c_char]) -> None:
    name = nic.encode()
    if not 0 < len(name) < _IFNAME_BYTES or b"\0" in name:
        raise OSError(f"{nic!r} is no name of a NIC")
    ifreq = struct.pack("16sP", name, ctypes.addressof(request)).ljust(_IFREQ_BYTES, b"\0")
    fcntl.ioctl(fd, _SIOCETHTOOL, ifreq)
