# SPDX-License-Identifier: Apache-2.0
"""Opening a device node to read it."""

import os
from pathlib import Path

from kvmexporter.errors import Unavailable


def open_node(
    path: Path, remedy: str = "start as root, or let a udev rule give this user the device"
) -> int:
    """Open a device node; reading it never blocks.

    Args:
        path: the node.
        remedy: what gives a user who may not the right to it.

    Returns:
        The descriptor.

    Raises:
        Unavailable: it is not there, or may not be read.
    """
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as err:
        raise Unavailable(f"{path}: {os.strerror(err.errno or 0)}", remedy) from err
