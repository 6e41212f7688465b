# SPDX-License-Identifier: Apache-2.0
"""The configuration that the running kernel was built with.

Reads /proc/config.gz, or /boot/config-RELEASE; once, since it cannot change.
"""

import gzip
import zlib
from pathlib import Path

_MAX_BYTES = 4 * 1024 * 1024


class KernelConfig:
    """The running kernel's options.

    Args:
        boot: where distributions keep them.
        procfs: where the kernel may show them itself.
    """

    def __init__(self, boot: Path, procfs: Path) -> None:
        self._boot = boot
        self._procfs = procfs
        self._options: dict[str, str] | None = None

    def value(self, option: str) -> str | None:
        """What an option is: `y`, `m`, a value, or "" if it is off; None if nobody knows."""
        if self._options is None:
            self._options = _parse(self._text())
        if not self._options:
            return None
        return self._options.get(option, "")

    def _text(self) -> str:
        try:
            with gzip.open(self._procfs / "config.gz") as file:
                return file.read(_MAX_BYTES).decode(errors="replace")
        except (OSError, EOFError, zlib.error):
            pass
        try:
            release = (self._procfs / "sys/kernel/osrelease").read_text().strip()
            with (self._boot / f"config-{release}").open("rb") as plain:
                return plain.read(_MAX_BYTES).decode(errors="replace")
        except OSError:
            return ""


def _parse(text: str) -> dict[str, str]:
    options = {}
    for line in text.splitlines():
        name, separator, value = line.partition("=")
        if separator and name.startswith("CONFIG_"):
            options[name] = value
    return options
