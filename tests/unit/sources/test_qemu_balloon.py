# SPDX-License-Identifier: Apache-2.0
"""What is asked about a balloon, and what is believed of the answers."""

import asyncio

import pytest

from kvmexporter.model.balloon import Balloon, BalloonDevice
from kvmexporter.model.devices import Virtio
from kvmexporter.sources.qemu_balloon import balloon, moving
from kvmexporter.sources.qmp import QmpError
from tests.unit.balloons import ADDRESS, ALL_OFFERED, DEVICE, MIB, PATH, WHOLE, BalloonMonitor

DRIVEN = Virtio(PATH, "virtio-balloon", 3, False, ("BALLOON_F_STATS_VQ", "F_VERSION_1"))
UNDRIVEN = Virtio(PATH, "virtio-balloon", 3, False)
DISK = Virtio("/machine/peripheral/disk0", "virtio-blk", 1, False, ("F_VERSION_1",))
CHANGING = {"qom-set", "balloon", "device_add", "device_del"}


@pytest.fixture
def monitor() -> BalloonMonitor:
    return BalloonMonitor()


def ask(monitor: BalloonMonitor, *virtio: Virtio, polling: int = 0) -> Balloon:
    found = asyncio.run(balloon(monitor, DEVICE, virtio, polling))
    assert found
    return found


def test_everything(monitor: BalloonMonitor) -> None:
    """Size, target, features, statistics; nothing in the VM is changed."""
    monitor.words = (0x8000, 0x6000)
    monitor.properties["guest-stats"] = {
        "last-update": 1_700_000_000,
        "stats": {"stat-free-memory": 101 * 4096, "stat-swap-in": 103 * 4096, "stat-x": 5},
    }
    monitor.properties["guest-stats-polling-interval"] = 7
    monitor.properties["free-page-hint"] = False
    found = ask(monitor, DISK, DRIVEN)
    assert (found.max_bytes, found.target_bytes) == (WHOLE, 128 * MIB)
    assert (found.actual_bytes, found.held_bytes) == (160 * MIB, 96 * MIB)
    assert found.gap_bytes == 32 * MIB
    assert found.offered == ALL_OFFERED | {"free-page-hint": False}
    assert found.driven is True
    assert found.stats == {"free-memory": 101 * 4096, "swap-in": 103 * 4096}
    assert (found.stats_at, found.polling_seconds) == (1_700_000_000, 7)
    assert not CHANGING & set(monitor.asked)


def test_no_balloon(monitor: BalloonMonitor) -> None:
    """Nothing is asked."""
    assert asyncio.run(balloon(monitor, None, ())) is None
    assert monitor.asked == []


def test_whether_a_driver_has_taken_it(monitor: BalloonMonitor) -> None:
    """Not known of QEMUs that tell no device's features."""
    assert ask(monitor, DISK, UNDRIVEN).driven is False
    assert ask(monitor, UNDRIVEN).driven is None
    assert ask(monitor).driven is None


def test_a_qemu_that_knows_fewer_features(monitor: BalloonMonitor) -> None:
    """They are left out."""
    del monitor.properties["free-page-reporting"]
    assert ask(monitor).offered == {"deflate-on-oom": True, "free-page-hint": True}


@pytest.mark.parametrize("config", [None, ADDRESS])
def test_unmapped(monitor: BalloonMonitor, config: int | None) -> None:
    """The configuration is not read where nobody has mapped it, nor where it is no longer."""
    monitor.words = (0x8000, 0x6000)
    monitor.moved = config is not None
    device = BalloonDevice(PATH, config, DEVICE.function if config else None)
    found = asyncio.run(balloon(monitor, device, ()))
    assert found
    assert (found.target_bytes, found.actual_bytes) == (None, 160 * MIB)
    assert "human-monitor-command" not in monitor.asked


def test_virtio_mmio(monitor: BalloonMonitor) -> None:
    """Nothing moves there, and there may be no PCI at all."""
    monitor.words = (0x8000, 0x8000)
    found = asyncio.run(balloon(monitor, BalloonDevice(PATH, ADDRESS), ()))
    assert found
    assert found.target_bytes == 128 * MIB
    assert "query-pci" not in monitor.asked


def test_a_configuration_that_is_something_else(monitor: BalloonMonitor) -> None:
    """It is believed only if its own size is what QEMU says otherwise."""
    monitor.words = (0x8000, 0x6000)
    monitor.actual = 200 * MIB
    found = ask(monitor)
    assert (found.target_bytes, found.actual_bytes) == (None, 200 * MIB)


def test_polling_is_set_where_nobody_polls(monitor: BalloonMonitor) -> None:
    """And nowhere else: another's interval stays."""
    assert ask(monitor, polling=10).polling_seconds == 10
    monitor.properties["guest-stats-polling-interval"] = 3
    assert ask(monitor, polling=10).polling_seconds == 3
    assert monitor.asked.count("qom-set") == 1


def test_a_glance(monitor: BalloonMonitor) -> None:
    """What moves is asked for again, the rest is kept; quickly, since it is done often."""
    found = ask(monitor, DISK, DRIVEN)
    monitor.words = (0x8000, 0x8000)
    monitor.asked.clear()
    again = asyncio.run(moving(monitor, found))
    assert again
    assert again.actual_bytes == again.target_bytes == 128 * MIB
    assert (again.offered, again.driven, again.device) == (ALL_OFFERED, True, DEVICE)
    assert len(monitor.asked) == 7


def test_unplugged(monitor: BalloonMonitor) -> None:
    """It is gone, whenever that shows."""
    found = ask(monitor)
    monitor.gone = True
    assert asyncio.run(moving(monitor, found)) is None
    assert asyncio.run(balloon(monitor, DEVICE, ())) is None


@pytest.mark.parametrize("reply", [5, [], "text", {"stats": []}, {"last-update": 5}])
def test_statistics_of_another_shape(monitor: BalloonMonitor, reply: object) -> None:
    """Are an error of the visit's, or none given; `ask` makes one line of it."""
    monitor.properties["guest-stats"] = reply
    if reply == {"stats": []}:
        assert ask(monitor).stats == {}
        return
    with pytest.raises((TypeError, KeyError, QmpError)):
        ask(monitor)
