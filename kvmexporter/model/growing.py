# SPDX-License-Identifier: Apache-2.0
"""Counters that never go down, whatever becomes of what they are read from."""

from collections.abc import Mapping


class Growing:
    """Counters of one VM, by name.

    What they are read from may go down: with a vCPU that is unplugged its counts go, a guest
    that reboots begins anew, and another source may be a little behind. From then on the
    difference is added.

    Attributes:
        shown: what was to show last.
    """

    def __init__(self) -> None:
        self._missing: dict[str, int] = {}
        self.shown: Mapping[str, int] = {}

    def follow(self, read: Mapping[str, int]) -> Mapping[str, int]:
        """What to show after this was read; what was not read stays as it was."""
        shown = dict(self.shown)
        for name, value in read.items():
            now, before = value + self._missing.get(name, 0), shown.get(name, 0)
            if now < before:
                self._missing[name] = before - value
                now = before
            shown[name] = now
        self.shown = shown
        return shown
