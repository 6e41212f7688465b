# SPDX-License-Identifier: Apache-2.0
"""The kernel's own messages.

Source: /dev/kmsg (Documentation/ABI/testing/dev-kmsg): one record a read, about a
microsecond each; takes CAP_SYSLOG where kernel.dmesg_restrict is set.
"""

import errno
import os
from pathlib import Path

from kvmexporter.sources.devicenode import open_node

# A record is at most 8 KiB (CONSOLE_EXT_LOG_MAX); a read with less room fails.
_RECORD_BYTES = 8192
_FACILITY_SHIFT = 3

# All of a large ring buffer at the start, and no stall whatever floods it later.
MAX_RECORDS = 20_000


class KernelLog:
    """Reads the log, what is in it already first; owns the descriptor.

    Args:
        fd: of /dev/kmsg, non-blocking.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    def open(cls, path: Path = Path("/dev/kmsg")) -> "KernelLog":
        """Open the log.

        Raises:
            Unavailable: it is not there, or may not be read.
        """
        return cls(open_node(path, "grant CAP_SYSLOG, and bind /dev/kmsg into a container"))

    def close(self) -> None:
        """Close it; more than once does no harm."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def read(self, at_most: int = MAX_RECORDS) -> list[str]:
        """The kernel's messages since the last call.

        What programs wrote to the log is left out. If there are too many, the rest is
        skipped rather than left for the next call, so that nothing old is told as new.
        """
        messages: list[str] = []
        for _ in range(at_most):
            try:
                record = os.read(self._fd, _RECORD_BYTES)
            except BlockingIOError:
                return messages
            except OSError as err:
                if err.errno == errno.EPIPE:  # overwritten before it was read
                    continue
                raise
            if not record:
                return messages
            if (text := _kernel_message(record)) is not None:
                messages.append(text)
        os.lseek(self._fd, 0, os.SEEK_END)
        return messages


def _kernel_message(record: bytes) -> str | None:
    """The text of a record "PRIORITY,SEQUENCE,TIME,FLAGS;TEXT"; None if it is a program's."""
    header, separator, rest = record.partition(b";")
    priority = header.partition(b",")[0]
    if not separator or not priority.isdigit() or int(priority) >> _FACILITY_SHIFT:
        return None
    return rest.partition(b"\n")[0].decode(errors="replace")
