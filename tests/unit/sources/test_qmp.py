# SPDX-License-Identifier: Apache-2.0
"""A hostile QMP server harms nobody: what it says is bounded, and so is what it costs."""

import asyncio
import os
import socket as sockets
import threading
import time
import tracemalloc
from collections.abc import Iterable
from pathlib import Path

import pytest

from kvmexporter.model.vm import MAX_NAME_LENGTH
from kvmexporter.sources.qemu import QemuFacts, Visitor
from kvmexporter.sources.qemu_stats import MAX_STATS
from kvmexporter.sources.qmp import QmpError
from tests.unit.model.recorded import load
from tests.unit.sources.qmp_hostility import HOSTILE, LARGE, MTREE, flood, silent
from tests.unit.sources.qmp_server import (
    Answer,
    HangError,
    QmpServer,
    honest,
    instead,
    visit,
    with_value,
)

_DEADLINE_SECONDS = 1.0
# Leaving has a deadline too, and the machine may be busy.
_AT_MOST_SECONDS = 5.0

PC = load("7.2", "pc")


@pytest.fixture
def socket(tmp_path: Path) -> Path:
    """Where a server may be."""
    return tmp_path / "qmp.sock"


def checked(path: Path, deadline_seconds: float = _DEADLINE_SECONDS) -> QemuFacts | None:
    """Visit a hostile server: in time, and either one clear line or bounded facts."""
    start = time.monotonic()
    try:
        facts = visit(path, deadline_seconds)
    except QmpError as err:
        text = str(err)
        assert text.isprintable(), text
        assert len(text) < 400, text
        assert str(path)[-20:] in text
        facts = None
    assert time.monotonic() - start < deadline_seconds + _AT_MOST_SECONDS
    if facts:
        assert_bounded(facts)
    return facts


def assert_bounded(facts: QemuFacts) -> None:
    """Nothing in the facts is longer, or more, than a label or a metric can be."""
    texts = [facts.version, *facts.stats, *facts.vcpu_stats]
    numbers = [*facts.stats.values(), *facts.vcpu_stats.values()]
    for window in facts.windows:
        texts += [window.target.device, window.target.driver, window.target.path]
        assert 0 <= window.first <= window.last < 1 << 64
        if window.kicks:
            numbers += [window.kicks.queues]
    for device in facts.virtio:
        texts += [device.name, *device.features]
        numbers += [device.queues, *device.queue_sizes.values()]
        assert len(device.path) <= 512
    assert all(isinstance(text, str) and len(text) <= MAX_NAME_LENGTH for text in texts)
    assert all(text.isprintable() for text in texts)
    assert all(0 <= number < 1 << 64 for number in numbers)
    assert len(facts.windows) <= 8192
    assert len(facts.virtio) <= 64
    assert len(facts.stats) <= MAX_STATS


def still_serves(path: Path, server: QmpServer) -> None:
    """The socket is free again: an honest server's next client is served."""
    deadline = time.monotonic() + 5
    while server.now_connected and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.now_connected == 0
    server.answer = honest
    assert visit(path).windows
    assert server.most_at_once == 1
    assert server.connections == 2


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE)
def test_a_server_that_does_not_speak_qmp(socket: Path, answer: Answer) -> None:
    """It is left in time with one line, and free for the next."""
    with QmpServer(socket, PC, answer) as server:
        facts = checked(socket)
        assert facts is None or answer is HOSTILE["everything twice"]
        still_serves(socket, server)


def test_some_events_are_no_harm(socket: Path) -> None:
    """A VM's devices send them all the time."""
    with QmpServer(socket, PC, flood(1000)):
        assert visit(socket).windows == PC.windows()


@pytest.mark.parametrize("answer", LARGE.values(), ids=LARGE)
def test_a_server_that_sends_a_lot(socket: Path, answer: Answer) -> None:
    """Memory stays bounded, time too, and the next is served."""
    with QmpServer(socket, PC, answer) as server:
        visit_once = time.monotonic()
        tracemalloc.start()
        try:
            checked(socket, 3.0)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 64 << 20, f"{peak >> 20} MiB"
        assert time.monotonic() - visit_once < 10
        still_serves(socket, server)


def _deep(depth: int) -> object:
    value: object = 1
    for _ in range(depth):
        value = [value]
    return value


_SHAPES: dict[str, object] = {
    "null": None,
    "true": True,
    "a number": 7,
    "a negative number": -1,
    "a huge number": 1 << 4000,
    "infinity": float("inf"),
    "not a number": float("nan"),
    "text": "x",
    "much text": "x" * 100_000,
    "a list": [],
    "a list of nulls": [None] * 1000,
    "a list of lists": [[]] * 1000,
    "a list of objects": [{}] * 1000,
    "an object": {},
    "an object of nulls": dict.fromkeys(
        ("qemu", "devices", "name", "path", "type", "stats", "provider", "package")
    ),
    "nested": _deep(200),
    "an object in an object": {"qemu": {"qemu": {}}, "devices": {"devices": []}},
}
_ASKED = (
    "query-version",
    "query-pci",
    MTREE,
    'qom-list {"path":"/machine"}',
    'qom-list {"path":"/machine/peripheral"}',
    'qom-get {"path":"/machine/unattached/device[0]/lapic","property":"type"}',
    "x-query-virtio",
    "query-qmp-schema",
    'x-query-virtio-queue-status {"path":"/machine/peripheral/nic0/virtio-backend","queue":0}',
    'x-query-virtio-status {"path":"/machine/peripheral/nic0/virtio-backend"}',
    'query-stats {"target":"vm"}',
    'query-stats {"target":"vcpu"}',
)


@pytest.mark.parametrize("key", _ASKED)
def test_answers_of_another_shape(socket: Path, key: str) -> None:
    """Whatever takes the place of an answer: one line, or facts that are bounded."""
    with QmpServer(socket, PC) as server:
        for shape in _SHAPES.values():
            server.answer = instead(key, shape)
            checked(socket, 10.0)
        assert key in server.asked
        server.answer = honest
        assert visit(socket).windows == PC.windows()
        assert server.most_at_once == 1


def _places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The way to each part of a JSON value; of a list, the first element's."""
    found = [path]
    if isinstance(value, dict):
        for key, part in value.items():
            found += _places(part, (*path, key))
    elif isinstance(value, list) and value:
        found += _places(value[0], (*path, 0))
    return found


def _changed(value: object, path: tuple[str | int, ...], part: object) -> object:
    if not path:
        return part
    step, *rest = path
    if isinstance(value, dict):
        return value | {step: _changed(value[step], tuple(rest), part)}
    assert isinstance(value, list)
    return [_changed(value[0], tuple(rest), part), *value[1:]]


@pytest.mark.parametrize("key", [key for key in _ASKED if key not in (MTREE, "query-qmp-schema")])
def test_parts_of_another_shape(socket: Path, key: str) -> None:
    """The same for each part of an answer."""
    value = PC.replies[key]["return"]
    with QmpServer(socket, PC) as server:
        for path in _places(value):
            for shape in ("null", "a huge number", "infinity", "much text", "a list", "an object"):
                server.answer = instead(key, _changed(value, path, _SHAPES[shape]))
                checked(socket, 10.0)
        assert server.most_at_once == 1


@pytest.mark.parametrize(
    "name",
    [
        "\0\n\r\x1b[31m\x7f\u202e",
        "\"'<script>alert(1)</script>&",
        "n" * 10_000,
        "\ud800",
        "}{@ (",
        "",
    ],
)
def test_names_that_tenants_choose(socket: Path, name: str) -> None:
    """They get out printable and bounded, or not at all."""
    path = f"/machine/peripheral/{name}"
    region = f"  00000000000003f8-00000000000003ff (prio 0, i/o): {name} owner:{{dev id={name}}}"
    text = f'FlatView #0\n AS "I/O", root: io\n{region}\n'
    values = {
        MTREE: text,
        'qom-list {"path":"/machine/peripheral"}': [{"name": name, "type": f"child<{name}>"}],
        "x-query-virtio": [{"path": path, "name": name}],
        'query-stats {"target":"vm"}': [
            {"provider": "kvm", "stats": [{"name": name, "value": 1 << 80}]}
        ],
        "query-version": {"qemu": {"major": 1, "minor": 2, "micro": 3}, "package": name},
    }

    def answer(key: str, line: bytes) -> Iterable[bytes]:
        if key in values:
            line = with_value(line, values[key])
        yield line

    with QmpServer(socket, PC, answer):
        facts = checked(socket, 10.0)
    assert facts
    assert len(facts.stats) == 1


def test_a_socket_without_a_server(socket: Path) -> None:
    """Neither one that is not there, nor one that nobody listens on, nor a file."""
    assert checked(socket) is None
    with QmpServer(socket, PC):
        pass
    socket.touch()
    assert checked(socket) is None


def test_a_path_that_a_tenant_chose(tmp_path: Path) -> None:
    """It is longer than a socket's address may be, and no terminal's friend."""
    path = tmp_path / ("d" * 120) / "e\n\x1b[31m"
    with pytest.raises(QmpError) as caught:
        visit(path)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_a_path_longer_than_a_sockets_address(tmp_path: Path) -> None:
    """It is reached all the same."""
    directory = tmp_path / ("d" * 120)
    directory.mkdir()
    short = tmp_path / "s"
    with QmpServer(short, PC):
        short.rename(directory / "qmp.sock")
        assert visit(directory / "qmp.sock").version == "7.2.22"
        (directory / "qmp.sock").rename(short)


def test_a_full_backlog(tmp_path: Path) -> None:
    """A monitor that somebody else is using does not answer, and costs the deadline at most."""
    with sockets.socket(sockets.AF_UNIX) as listener:
        path = tmp_path / "busy"
        listener.bind(str(path))
        listener.listen(0)
        assert checked(path) is None
        assert checked(path) is None


def test_giving_up_leaves_the_socket(socket: Path) -> None:
    """A visit that is cancelled is no client any more."""

    async def cancelled() -> None:
        task = asyncio.create_task(Visitor().visit(socket, 10.0))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with QmpServer(socket, PC, silent(MTREE)) as server:
        asyncio.run(cancelled())
        still_serves(socket, server)


def test_two_who_name_one_socket(tmp_path: Path) -> None:
    """By two names, at one time: it has one conversation after the other, and both succeed."""
    path, other = tmp_path / "qmp.sock", tmp_path / "other.sock"

    async def both(visitor: Visitor) -> list[QemuFacts]:
        return await asyncio.gather(*(visitor.visit(one, 20.0) for one in (path, other, path)))

    with QmpServer(path, PC) as server:
        other.symlink_to(path)
        found = asyncio.run(both(Visitor()))
    assert [facts.windows for facts in found] == [PC.windows()] * 3
    assert server.connections == 3
    assert server.most_at_once == 1


def test_a_slow_one(socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whose every answer comes in time is heard to the end, however long that takes."""
    monkeypatch.setattr("kvmexporter.sources.qmp.ANSWER_SECONDS", 0.5)

    def slowly(_key: str, line: bytes) -> Iterable[bytes]:
        time.sleep(0.03)
        yield line

    start = time.monotonic()
    with QmpServer(socket, PC, slowly) as server:
        assert visit(socket, 30.0).windows == PC.windows()
    assert time.monotonic() - start > 2 * 0.5
    assert len(server.asked) > 2 * 0.5 / 0.03


def test_one_that_hangs_late(socket: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Is left as soon as an answer is overdue, long before the visit's deadline."""
    monkeypatch.setattr("kvmexporter.sources.qmp.ANSWER_SECONDS", 0.5)

    def stuck(key: str, line: bytes) -> Iterable[bytes]:
        if key.startswith("query-pci"):
            raise HangError
        yield line

    start = time.monotonic()
    with QmpServer(socket, PC, stuck), pytest.raises(QmpError, match=r"no answer on .* in 0\.5 s"):
        visit(socket, 60.0)
    assert time.monotonic() - start < 0.5 + _AT_MOST_SECONDS


def test_a_link_to_libvirt_s_monitor(tmp_path: Path) -> None:
    """Whatever the path says, nobody connects there."""
    monitor = tmp_path / "libvirt" / "domain-1-web" / "monitor.sock"
    monitor.parent.mkdir(parents=True)
    path = tmp_path / "qmp.sock"
    path.symlink_to(monitor)
    with QmpServer(monitor, PC) as server, pytest.raises(QmpError, match="is libvirt's own"):
        visit(path)
    assert server.connections == 0


def test_a_path_that_never_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a file system that a tenant serves: the deadline holds, and other VMs are visited."""
    let_go, real = threading.Event(), os.open
    stuck, path = tmp_path / "stuck.sock", tmp_path / "qmp.sock"

    def opened(target: Path, flags: int) -> int:
        if target == stuck:
            let_go.wait(30)
        return real(target, flags)

    async def both(visitor: Visitor) -> QemuFacts:
        for match in ("no answer on", "not come back"):
            with pytest.raises(QmpError, match=match):
                await visitor.visit(stuck, 0.05)
        return await visitor.visit(path, 20.0)

    monkeypatch.setattr("kvmexporter.sources.qmp.os.open", opened)
    try:
        with QmpServer(path, PC):
            assert asyncio.run(both(Visitor())).windows == PC.windows()
    finally:
        let_go.set()
