# SPDX-License-Identifier: Apache-2.0
"""Write an initramfs archive: cpio's "newc" form, uncompressed.

The format is that of Linux's Documentation/driver-api/early-userspace/buffer-format.rst.  Written
here rather than by the `cpio` program so that device nodes and owners need no root and no
staging directory.  Uncompressed, because a nested guest pays more to decompress than to copy.
"""

import stat
from pathlib import Path


class Cpio:
    """An archive in memory; parent directories are added as they are needed."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._names: set[str] = set()

    def _add(
        self, name: str, mode: int, data: bytes = b"", device: tuple[int, int] = (0, 0)
    ) -> None:
        parent = name.rpartition("/")[0]
        if parent and parent not in self._names:
            self._add(parent, stat.S_IFDIR | 0o755)
        self._names.add(name)
        path = name.encode() + b"\0"
        fields = (len(self._names), mode, 0, 0, 1, 0, len(data), 0, 0, *device, len(path), 0)
        entry = b"070701" + b"".join(b"%08X" % field for field in fields) + path
        entry += b"\0" * (-len(entry) % 4) + data
        self._parts.append(entry + b"\0" * (-len(data) % 4))

    def directory(self, name: str) -> None:
        """Add an empty directory; `name` has no leading slash."""
        if name not in self._names:
            self._add(name, stat.S_IFDIR | 0o755)

    def file(self, name: str, data: bytes | Path, mode: int = 0o644) -> None:
        """Add a regular file with these bytes, or with those of the file at this path."""
        content = data.read_bytes() if isinstance(data, Path) else data
        self._add(name, stat.S_IFREG | mode, content)

    def link(self, name: str, target: str) -> None:
        """Add a symbolic link."""
        self._add(name, stat.S_IFLNK | 0o777, target.encode())

    def character_device(self, name: str, major: int, minor: int) -> None:
        """Add a character device node."""
        self._add(name, stat.S_IFCHR | 0o600, device=(major, minor))

    def write(self, path: Path) -> None:
        """Write the archive in one step: a reader sees the old file or the whole new one."""
        self._add("TRAILER!!!", 0)
        fresh = path.with_name(path.name + ".new")
        fresh.write_bytes(b"".join(self._parts))
        fresh.rename(path)
