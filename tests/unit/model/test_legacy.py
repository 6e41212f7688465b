# SPDX-License-Identifier: Apache-2.0
"""The well-known addresses as windows."""

from kvmexporter.bpf.request import IO_SLOTS, KICK_SLOTS
from kvmexporter.model.legacy import legacy_windows
from kvmexporter.model.regiontable import PORT, Key, Slots, entries
from kvmexporter.tables.ioports import LEGACY_REGIONS


def test_every_well_known_address_has_a_window() -> None:
    """In its space, with its path; some devices go by one name together."""
    found = legacy_windows()
    assert [(one.first, one.last, one.target.path) for one in found] == [
        (one.first, one.last, one.path) for one in LEGACY_REGIONS
    ]
    assert {one.space for one in found} == {"port", "memory"}
    assert len({one.target for one in found}) < len({one.device for one in LEGACY_REGIONS})


def test_legacy_windows_fit() -> None:
    """Each has a slot of its own, and no two are in one place."""
    of_vm = Slots(IO_SLOTS, KICK_SLOTS)
    table = entries(legacy_windows(), of_vm)
    assert max(entry.slot for entry in table.values()) < 31
    for window in legacy_windows():
        if window.space == "port":
            for port in (window.first, window.last):
                assert of_vm.targets()[table[Key(PORT, port)].slot] == window.target
