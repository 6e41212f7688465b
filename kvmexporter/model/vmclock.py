# SPDX-License-Identifier: Apache-2.0
"""The page through which a hypervisor tells its guest the time and of disruptions.

Source: include/uapi/linux/vmclock-abi.h (Linux 7.2), `struct vmclock_abi`, version 1;
all of it is little-endian.
"""

import struct
from dataclasses import dataclass
from typing import Self

PAGE_BYTES = 4096
_LAYOUT = struct.Struct("<IIHBBIQQ2xBBhBBQQQQQQQQ")
MIN_BYTES = _LAYOUT.size

_MAGIC = 0x4B4C4356
_VERSION = 1

_COUNTERS = {0: "arm_vcnt", 1: "x86_tsc", 0xFF: "none"}
_TIME_TYPES = {0: "utc", 1: "tai", 2: "monotonic", 3: "smeared", 4: "maybe_smeared"}
STATUSES = {0: "unknown", 1: "initializing", 2: "synchronized", 3: "freerunning", 4: "unreliable"}

_DISRUPTION_SOON = 1 << 1
_DISRUPTION_IMMINENT = 1 << 2
_ESTERROR_VALID = 1 << 5
_MAXERROR_VALID = 1 << 6

_DAY_SECONDS = 86_400
_HOUR_SECONDS = 3_600


@dataclass(frozen=True, slots=True)
class VmClock:
    """The page's content, as far as it is monitored.

    Attributes:
        sequence: of its updates; odd while one is under way.
        disruption_marker: changes whenever the guest's counter was disrupted.
        status: the clock's state in the header's words.
        counter: which counter its times are for.
        time_type: UTC, TAI …
        disruption_within_seconds: how soon one is announced, None if none is.
        estimated_error_ns: of the time when the page was written, None if not told.
        max_error_ns: likewise.
    """

    sequence: int
    disruption_marker: int
    status: str
    counter: str
    time_type: str
    disruption_within_seconds: int | None
    estimated_error_ns: int | None
    max_error_ns: int | None

    @classmethod
    def parse(cls, page: bytes) -> Self:
        """Read the page.

        Raises:
            ValueError: it is not such a page, or of a version that is not known.
        """
        if len(page) < MIN_BYTES:
            raise ValueError(f"{len(page)} bytes are too few for a VMClock page")
        (
            magic, size, version, counter, time_type, sequence, marker, flags, status, _smearing,
            _tai, _leap, _shift, _counter_value, _period, _period_esterror, _period_maxerror,
            _sec, _frac, esterror, maxerror,
        ) = _LAYOUT.unpack_from(page)  # fmt: skip
        if magic != _MAGIC:
            raise ValueError(f"the magic number is {magic:#x}, not VMClock's {_MAGIC:#x}")
        if version != _VERSION:
            raise ValueError(f"version {version} is not known")
        if size < MIN_BYTES:
            raise ValueError(f"a size of {size} bytes is too small for a VMClock page")
        within = None
        if flags & _DISRUPTION_IMMINENT:
            within = _HOUR_SECONDS
        elif flags & _DISRUPTION_SOON:
            within = _DAY_SECONDS
        return cls(
            sequence=sequence,
            disruption_marker=marker,
            status=STATUSES.get(status, f"unknown:{status}"),
            counter=_COUNTERS.get(counter, f"unknown:{counter}"),
            time_type=_TIME_TYPES.get(time_type, f"unknown:{time_type}"),
            disruption_within_seconds=within,
            estimated_error_ns=esterror if flags & _ESTERROR_VALID else None,
            max_error_ns=maxerror if flags & _MAXERROR_VALID else None,
        )
