# SPDX-License-Identifier: Apache-2.0
"""A visit that builds on what is known finds what one that does not would find."""

import asyncio
import itertools
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from kvmexporter.sources.qemu_machine import Machine, machine
from kvmexporter.sources.qmp import QmpError, Refused
from tests.unit.model.record import command_key
from tests.unit.model.recorded import NAMES, RELEASES, Recording, load
from tests.unit.sources.changing_qemu import LINUX, Change, ChangingQemu, Replies, timeless
from tests.unit.sources.test_qmp import assert_bounded

ALL = [*(load(*name) for name in NAMES), LINUX]
NIC, DISK = "/machine/peripheral/nic0", "/machine/peripheral/disk0"
BALLOON = "/machine/peripheral/balloon0"
VCPU_0 = "/machine/unattached/device[0]"

# Asked again because a balloon, counters and the RTC move, or because they tell what is new.
ALWAYS = {
    "query-version", "query-pci", "info mtree -f -o", "info qtree", "info network", "query-block",
    "query-cpus-fast", "x-query-virtio", "x-query-virtio-status", "query-stats", "query-balloon",
    "query-memory-size-summary",
    'qom-list {"path":"/machine/peripheral"}', 'qom-list {"path":"/machine/peripheral-anon"}',
    'qom-get {"path":"/machine","property":"rtc-time"}',
}  # fmt: skip


class Answers:
    """A monitor that gives the replies of a recording."""

    def __init__(self, recording: Recording) -> None:
        self._replies = recording.replies

    async def execute(self, command: str, arguments: Mapping[str, object] | None = None) -> object:
        reply = self._replies.get(command_key(command, arguments), {})
        if "return" not in reply:
            raise Refused("there is none")
        return reply["return"]


def of(recording: Recording) -> Machine:
    return asyncio.run(machine(Answers(recording)))


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    """Where a server may be."""
    return tmp_path / "qmp.sock"


def status(of_path: str) -> str:
    return command_key("x-query-virtio-status", {"path": f"{of_path}/virtio-backend"})


def size(of_path: str, queue: int) -> str:
    arguments = {"path": f"{of_path}/virtio-backend", "queue": queue}
    return command_key("x-query-virtio-queue-status", arguments)


def one_property(path: str, name: str) -> str:
    return command_key("qom-get", {"path": path, "property": name})


def test_fingerprints() -> None:
    """The same of the same, another of every other; they are numbers of this process only."""
    assert len({of(recording).fingerprint() for recording in ALL}) == len(ALL)
    assert [of(one).fingerprint() for one in ALL] == [of(one).fingerprint() for one in ALL]


@pytest.mark.parametrize("recording", ALL, ids=lambda one: f"{one.release}-{one.configuration}")
def test_nothing_has_changed(socket: Path, recording: Recording) -> None:
    """The same facts with fewer commands, however often."""
    qemu = ChangingQemu(socket, recording)
    with qemu.server as server:
        facts, all_asked = qemu.visit()
        known = facts
        for _ in range(3):
            known, asked = qemu.visit(known)
            assert timeless(known) == timeless(facts)
            assert len(asked) < len(all_asked)
            assert not set(asked) & ({"query-qmp-schema"} | {"qom-list /machine"})
        assert not server.aborted


def test_what_is_asked_again(socket: Path) -> None:
    """Of a Linux guest less than half, and nothing that is not said to move."""
    qemu = ChangingQemu(socket, LINUX)
    with qemu.server:
        facts, all_asked = qemu.visit()
        _, asked = qemu.visit(facts)
    rest = [key for key in asked if key not in ALWAYS and key.partition(" ")[0] not in ALWAYS]
    assert len(asked) <= len(all_asked) / 2
    assert set(rest) == {
        *(size(NIC, queue) for queue in range(3)),
        one_property(BALLOON, "guest-stats"),
        one_property(BALLOON, "guest-stats-polling-interval"),
        "xp /2wx 0xfebf2000",
    }


@pytest.mark.parametrize("release", RELEASES)
def test_it_becomes_another(socket: Path, release: str) -> None:
    """From each configuration to each: plugged and unplugged devices, drivers, BARs, vhost."""
    recordings = [one for one in ALL if one.release == release]
    qemu = ChangingQemu(socket, recordings[0])
    with qemu.server as server:
        for before, after in itertools.permutations(recordings, 2):
            qemu.becomes(before)
            known, _ = qemu.visit()
            qemu.becomes(after)
            found, _ = qemu.visit(known)
            fresh, _ = qemu.visit()
            assert timeless(found) == timeless(fresh)
            again, _ = qemu.visit(found)
            assert timeless(again) == timeless(fresh)
        assert not server.aborted


def test_another_release_behind_the_door(socket: Path) -> None:
    """Nobody is asked what only the QEMU before it could be asked."""
    qemu = ChangingQemu(socket, load("10.0", "pc"))
    with qemu.server:
        known, asked = qemu.visit()
        assert status("/machine/peripheral/disk0") in asked
        qemu.becomes(load("11.1", "pc"))
        found, asked = qemu.visit(known)
        assert not [key for key in asked if key.startswith("x-query-virtio-status ")]
        fresh, _ = qemu.visit()
    assert timeless(found) == timeless(fresh)


def _bar(replies: Replies) -> None:
    text = replies["info mtree -f -o"]["return"]
    moved = re.sub("febf([0-3])", r"fdbf\1", text)
    assert moved != text
    replies["info mtree -f -o"]["return"] = moved
    for device in replies["query-pci"]["return"][0]["devices"]:
        for region in device["regions"]:
            if region.get("address") == 0xFEBF0000:
                region["address"] = 0xFDBF0000
    words = replies.pop("xp /2wx 0xfebf2000")["return"]
    replies["xp /2wx 0xfdbf2000"] = {"return": words.replace("febf2000", "fdbf2000")}


def _unbound(replies: Replies) -> None:
    replies[status(NIC)]["return"] |= {
        "started": False, "guest-features": {"dev-features": [], "transports": []},
        "status": {"statuses": []},
    }  # fmt: skip
    for queue in range(3):
        replies[size(NIC, queue)]["return"]["vring-desc"] = 0


def _vhost(replies: Replies) -> None:
    replies[status(NIC)]["return"]["vhost-started"] = False


def _other_sizes(replies: Replies) -> None:
    for queue in range(2):
        replies[size(NIC, queue)]["return"]["vring-num"] = 1024


def _bound_anew(replies: Replies) -> None:
    replies[status(DISK)]["return"]["queue-sel"] = 0
    replies[size(DISK, 0)]["return"]["vring-num"] = 64


def _balloon(replies: Replies) -> None:
    replies["query-balloon"]["return"]["actual"] -= 8 << 20
    address = "00000000febf2000:"
    held = replies["query-memory-size-summary"]["return"]["base-memory"]
    pages = (held - replies["query-balloon"]["return"]["actual"]) >> 12
    replies["xp /2wx 0xfebf2000"]["return"] = f"{address} {pages + 256:#010x} {pages:#010x}\r\n"


def _statistics(replies: Replies) -> None:
    replies[one_property(BALLOON, "guest-stats")]["return"]["stats"]["stat-free-memory"] = 7919
    replies[one_property(BALLOON, "guest-stats-polling-interval")]["return"] = 11


def _counters(replies: Replies) -> None:
    key = 'query-stats {"target":"vcpu"}'
    replies[key]["return"][0]["stats"][0]["value"] = 104729


def _rtc(replies: Replies) -> None:
    del replies[one_property("/machine", "rtc-time")]


def _back_end(replies: Replies) -> None:
    text = replies["info network"]["return"]
    replies["info network"]["return"] = text.replace("labtap1", "labtap2")


def _cache_mode(replies: Replies) -> None:
    replies["query-block"]["return"][0]["inserted"]["cache"]["writeback"] = False


def _memory(replies: Replies) -> None:
    replies["query-memory-size-summary"]["return"]["plugged-memory"] = 1 << 30
    replies['qom-list {"path":"/machine/peripheral"}']["return"].append(
        {"name": "dimm0", "type": "child<pc-dimm>"}
    )


def _another_process(replies: Replies) -> None:
    replies["query-cpus-fast"]["return"][0]["thread-id"] = 7727
    replies[one_property(VCPU_0, "invtsc")]["return"] = True
    replies[one_property(VCPU_0, "type")]["return"] = "EPYC-x86_64-cpu"


def _another_release(replies: Replies) -> None:
    replies["query-version"]["return"]["qemu"]["micro"] = 99


CHANGES: dict[str, Change] = {
    "a BAR moves": _bar,
    "a driver goes": _unbound,
    "vhost stops": _vhost,
    "a NIC's queues are resized": _other_sizes,
    "a driver comes back": _bound_anew,
    "the balloon is resized": _balloon,
    "the guest's statistics": _statistics,
    "counters move": _counters,
    "the RTC goes": _rtc,
    "another tap": _back_end,
    "another cache mode": _cache_mode,
    "memory is plugged": _memory,
    "another process": _another_process,
    "another release": _another_release,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_one_thing_changes(socket: Path, change: Change) -> None:
    """It shows at once, and nothing else; and so does that it is undone."""
    qemu = ChangingQemu(socket, LINUX)
    with qemu.server:
        before, _ = qemu.visit()
        change(qemu.replies)
        found, _ = qemu.visit(before)
        fresh, _ = qemu.visit()
        assert timeless(found) == timeless(fresh) != timeless(before)
        again, _ = qemu.visit(found)
        assert timeless(again) == timeless(fresh)
        qemu.becomes(LINUX)
        undone, _ = qemu.visit(again)
        assert timeless(undone) == timeless(before)


@pytest.mark.parametrize("value", [None, 7, 1 << 4000, "x", [], [None], [{}], {}, {"qemu": {}}])
def test_answers_of_another_shape(socket: Path, value: object) -> None:
    """To what is asked again: one line, or facts, and no harm to the next visit."""
    qemu = ChangingQemu(socket, LINUX)
    with qemu.server:
        known, _ = qemu.visit()
        _, asked = qemu.visit(known)
        for key in asked:
            qemu.replies[key] = {"return": value}
            with suppress(QmpError):
                assert_bounded(qemu.visit(known)[0])
            qemu.becomes(LINUX)
            again, asked_then = qemu.visit(known)
            assert timeless(again) == timeless(known)
            assert asked_then == asked


def test_a_disk_that_grows_is_no_change(socket: Path) -> None:
    """Nor is an interrupt under way: a busy VM costs no more than an idle one."""
    qemu = ChangingQemu(socket, LINUX)
    with qemu.server:
        known, _ = qemu.visit()
        _, at_rest = qemu.visit(known)
        qemu.replies["query-block"]["return"][0]["inserted"]["image"]["actual-size"] += 1 << 20
        qemu.replies[status(DISK)]["return"]["isr"] ^= 1
        _, busy = qemu.visit(known)
    assert busy == at_rest
