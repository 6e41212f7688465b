# SPDX-License-Identifier: Apache-2.0
"""What QEMU's replies say of a balloon, and what becomes of it from visit to visit."""

import pytest

from kvmexporter.model.balloon import (
    BalloonDevice,
    config_bytes,
    function_at,
    locate,
    max_bytes,
    stats,
)
from kvmexporter.units import balloon_pages_to_bytes
from tests.unit.balloons import MIB, WHOLE, balloon, observed
from tests.unit.model.recorded import NAMES, load

ABSENT = (1 << 64) - 1


@pytest.mark.parametrize(("release", "configuration"), NAMES)
def test_where_it_is(release: str, configuration: str) -> None:
    """In recordings: on PCI at its device window, on virtio-mmio behind the transport's registers.

    Before the firmware has run nobody has mapped it.
    """
    recording = load(release, configuration)
    regions, pci = recording.regions(), recording.pci()
    found = locate(regions, recording.types(), recording.virtio(), pci)
    if configuration.endswith(("vhost", "vhost-user")):
        assert found is None
        return
    assert found
    assert recording.types()[found.path].startswith("virtio-balloon")
    if configuration == "pc-unmapped":
        assert found == BalloonDevice("/machine/peripheral/balloon0", None)
    elif configuration == "microvm":
        assert found.config_address is not None
        assert found.config_address & 0x1FF == 0x100
        assert found.function is None
    else:
        (window,) = [one for one in regions if one.name == "virtio-pci-device-virtio-balloon"]
        assert found.config_address == window.first
        assert found.function == function_at(window.first, pci)
        assert found.function


def test_without_query_virtio() -> None:
    """A QEMU that does not list virtio devices has it all the same."""
    recording = load("10.0", "pc")
    found = locate(recording.regions(), recording.types(), (), recording.pci())
    assert found == locate(
        recording.regions(), recording.types(), recording.virtio(), recording.pci()
    )


def test_all_memory() -> None:
    """What was plugged counts."""
    assert max_bytes({"base-memory": 7 * MIB, "plugged-memory": 4 * MIB}) == 11 * MIB
    assert max_bytes({"base-memory": 7 * MIB}) == 7 * MIB


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("00000000febf6000: 0x00008000 0x00008000\r\n", (128 * MIB, 128 * MIB)),
        ("00000000febf6000: 0x00008000 0x00000000\r\n", (128 * MIB, WHOLE)),
        ("00000000febf6000: 0x00000000 0x00000001\r\n", (WHOLE, WHOLE - 4096)),
        ("00000000febf6000: 0xffffffff 0x00000000\r\n", (0, WHOLE)),
        # More in the balloon than there is: that is no balloon's configuration.
        ("00000000febf6000: 0x00000000 0xffffffff\r\n", None),
        ("00000000febf6004: 0x00008000 0x00008000\r\n", None),
        ("00000000febf6000: Cannot access memory\r\n", None),
        ("00000000febf6000: 0x00008000\r\n", None),
        ("", None),
        ("0" * 100_000, None),
    ],
)
def test_config(text: str, expected: tuple[int, int] | None) -> None:
    """Two numbers of pages as `xp` prints them, or nothing."""
    assert config_bytes(text, 0xFEBF6000, WHOLE) == expected


def test_stats() -> None:
    """What the guest gave, what it did not, and what nobody knows."""
    given = {
        "stat-free-memory": 5 * 4096,
        "stat-swap-in": 0,
        "stat-major-faults": 7,
        "stat-htlb-pgfail": ABSENT,
        "stat-total-memory": -1,
        "stat-disk-caches": "many",
        "stat-of-tomorrow": 11,
    }
    numbers, given_at = stats({"last-update": 1_700_000_001, "stats": given})
    assert numbers == {"free-memory": 5 * 4096, "swap-in": 0, "major-faults": 7}
    assert given_at == 1_700_000_001
    assert stats({"last-update": 0, "stats": dict.fromkeys(given, ABSENT)}) == ({}, 0)


def test_pages_are_4_kib() -> None:
    """Whatever the guest's are."""
    assert balloon_pages_to_bytes(0x8000) == 128 * MIB


def test_gap() -> None:
    """Only where the target is known, only of a mebibyte and more, and not in the other way."""
    assert balloon(200, 128).gap_bytes == 72 * MIB
    assert balloon(129, 128).gap_bytes == MIB
    assert balloon(128, 128).gap_bytes == 0
    assert balloon(100, 128).gap_bytes == 0
    assert balloon(200, None).gap_bytes == 0
    assert balloon(300, 256).held_bytes == 0


def test_the_first_visit() -> None:
    """Nothing has changed yet; what is short is so from now on."""
    history = observed((200, 128)).history
    assert (history.inflations, history.deflations) == (0, 0)
    assert (history.short_since, history.stuck_since, history.seen) == (1000.0, 1000.0, 1000.0)
    assert observed((256, 256)).history.short_since is None


def test_changes() -> None:
    """Each visit that finds another size is a change; bytes by direction."""
    history = observed((256, 128), (200, 128), (128, 128), (128, 128), (139, 256)).history
    assert (history.inflations, history.inflated_bytes) == (2, 128 * MIB)
    assert (history.deflations, history.deflated_bytes) == (1, 11 * MIB)
    assert history.short_since is None


def test_another_balloon_begins_anew() -> None:
    """Unplugged and plugged in under another name."""
    before = observed((128, 128))
    after = balloon(256, 256)
    other = BalloonDevice("/machine/peripheral/other", None)
    fresh = type(after)(other, after.actual_bytes, after.max_bytes).after(before, 1010.0)
    assert fresh.history.deflations == 0


def test_how_long_it_is_short() -> None:
    """From the first visit that saw it; stuck from the last that saw it get noticeably less."""
    history = observed((256, 128), (200, 128), (197, 128), (199, 128)).history
    assert (history.short_since, history.stuck_since) == (1000.0, 1010.0)
    assert history.stuck_gap_bytes == 72 * MIB
    slowly = observed((256, 128), (250, 128), (244, 128), (238, 128)).history
    # 10 MiB and 12 MiB a tenth of what was missing: the third step is the first that counts.
    assert slowly.stuck_since == 1030.0
    reached = observed((256, 128), (200, 128), (128, 128)).history
    assert (reached.short_since, reached.stuck_since, reached.stuck_gap_bytes) == (None, None, 0)


def test_a_new_target_is_a_new_chance() -> None:
    """Nobody is stuck right after more was asked for."""
    history = observed((200, 128), (200, 128), (200, 64)).history
    assert (history.short_since, history.stuck_since) == (1000.0, 1020.0)


def test_swapping() -> None:
    """What went in and out between two visits; a guest that has rebooted has not swapped."""
    found = None
    for number, (swapped_in, swapped_out) in enumerate([(0, 7), (3, 12), (3, 12), (0, 0)]):
        stats = {"swap-in": swapped_in * MIB, "swap-out": swapped_out * MIB}
        found = balloon(stats=stats).after(found, 1000.0 + number)
    assert found
    assert (found.history.swapped_at, found.history.swapped_bytes) == (1001.0, 8 * MIB)
