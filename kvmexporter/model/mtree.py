# SPDX-License-Identifier: Apache-2.0
"""QEMU's flat address maps: the output of `info mtree -f -o`.

Source: softmmu/memory.c (system/memory.c since 9.0), `mtree_print_flatview` and
`mtree_print_mr_owner`, QEMU 7.2 to 11:

      00000000febc0000-00000000febdffff (prio 1, i/o): e1000-mmio owner:{dev id=nic0}

The output is the VMM's, so its size is bounded and what does not parse is passed over.
"""

import re
from dataclasses import dataclass
from typing import Literal

MAX_LINES = 50_000
MAX_LINE_LENGTH = 1024
MAX_REGIONS = 8192
_MAX_NAME_LENGTH = 128

_LINE = re.compile(
    r"  ([0-9a-f]{1,16})-([0-9a-f]{1,16}) \(prio -?\d+, (\S+)\): ([^{]*?)"
    r"(?: @([0-9a-f]{1,16}))?"
    r"(?: owner:\{(?:dev|obj) (id|path|type)=([^{}]*)\})?"
    r"(?: parent:\{(?:dev|obj) (id|path|type)=([^{}]*)\})?"
    r"(?: \S+)?$"
)
# RAM and ROM are mapped into the guest: touching them is no I/O exit.
_EXITING = frozenset({"i/o", "romd"})


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of an address space that one memory region answers for.

    Attributes:
        space: `port` or `memory`.
        first: its first address.
        last: its last address, inclusive.
        name: QEMU's name of the memory region.
        offset: of `first` within that region.
        owner: the owning device's QOM path, or `/machine/peripheral/ID`; "" if it has none.
    """

    space: Literal["port", "memory"]
    first: int
    last: int
    name: str
    offset: int
    owner: str


def parse(text: str) -> tuple[Region, ...]:
    """The regions of both address spaces of a machine that guests leave guest mode for."""
    regions: list[Region] = []
    space: Literal["port", "memory"] | None = None
    for line in text.splitlines()[:MAX_LINES]:
        if len(line) > MAX_LINE_LENGTH:  # the pattern's time may grow with its square
            continue
        if len(regions) >= MAX_REGIONS:
            break
        if line.startswith("FlatView"):
            space = None
        elif line.startswith(' AS "I/O"'):
            space = "port"
        elif line.startswith(' AS "memory"'):
            space = "memory"
        elif space and (found := _LINE.match(line)):
            first, last, kind, name, offset, *owners = found.groups()
            if kind in _EXITING and int(first, 16) <= int(last, 16):
                regions.append(
                    Region(
                        space,
                        int(first, 16),
                        int(last, 16),
                        name[:_MAX_NAME_LENGTH],
                        int(offset or "0", 16),
                        _owner_path(*owners),
                    )
                )
    return tuple(regions)


def _owner_path(
    kind: str | None, owner: str | None, parent_kind: str | None, parent: str | None
) -> str:
    if kind == "type":
        # A list of ports since QEMU 10.0: an object without a path, inside its device.
        kind, owner = parent_kind, parent
    if kind == "id" and owner:
        return f"/machine/peripheral/{owner}"
    return owner or "" if kind == "path" else ""
