# SPDX-License-Identifier: Apache-2.0
"""A policy that is kept fresh."""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from kvmexporter.errors import UsageError
from kvmexporter.views.policy import Bucket, Policy, Watch, load
from kvmexporter.views.webconfig import RateLimit
from tests.unit.views.certificates import Authority

WAIT_SECONDS = 10.0


def test_no_file() -> None:
    """Says nothing."""
    assert load(None) == Policy()


def test_what_cannot_be_served_is_named(tmp_path: Path) -> None:
    """With its file."""
    path = tmp_path / "web.yml"
    path.write_text("tls_server_config: {cert: a, key: b}")
    with pytest.raises(UsageError, match=r"web\.yml: tls_server_config: certificate and key"):
        load(path)


class Watched:
    """A watch that runs, and what it has said."""

    def __init__(self, path: Path) -> None:
        self.told: list[Policy] = []
        self.watch = Watch(path, load(path), self.told.append)

    async def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + WAIT_SECONDS
        while not holds():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)


def watching(path: Path, story: Callable[[Watched], object]) -> Watched:
    async def run() -> Watched:
        watched = Watched(path)
        task = asyncio.create_task(watched.watch.run())
        await asyncio.sleep(0.1)
        await story(watched)  # type: ignore[misc] # a coroutine
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        return watched

    return asyncio.run(run())


def test_a_change_is_told(tmp_path: Path) -> None:
    """Once; touching a file is none."""
    path = tmp_path / "web.yml"
    path.write_text("rate_limit: {interval: 1s}")

    async def story(watched: Watched) -> None:
        os.utime(path)
        await asyncio.sleep(1.5)
        assert watched.told == []
        path.write_text("rate_limit: {interval: 2s}")
        await watched.until(lambda: bool(watched.told))
        await asyncio.sleep(1.2)

    watched = watching(path, story)
    assert [one.config.rate_limit for one in watched.told] == [RateLimit(2.0, 1)]


def test_a_file_that_it_names_is_watched(tmp_path: Path) -> None:
    """Also when it is a link that is turned round, as Kubernetes does with secrets."""
    authority = Authority(tmp_path)
    for name in ("first", "second"):
        certificate, key = authority.sign(name)
        (tmp_path / f"{name}.d").mkdir()
        certificate.rename(tmp_path / f"{name}.d/tls.crt")
        key.rename(tmp_path / f"{name}.d/tls.key")
    current = tmp_path / "current"
    current.symlink_to("first.d")
    path = tmp_path / "web.yml"
    path.write_text("tls_server_config: {cert_file: current/tls.crt, key_file: current/tls.key}")

    async def story(watched: Watched) -> None:
        (tmp_path / "next").symlink_to("second.d")
        (tmp_path / "next").replace(current)
        await watched.until(lambda: bool(watched.told))

    told = watching(path, story).told
    assert told[0].config.tls
    assert told[0].config.tls.certificate == (tmp_path / "second.d/tls.crt").read_text()


def test_what_cannot_be_followed_is_kept_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One line says so, however long it lasts; what it lacked may come without its changing."""
    path, late = tmp_path / "web.yml", tmp_path / "late.pem"
    path.write_text("rate_limit: {interval: 1s}")
    certificate, key = Authority(tmp_path).sign("server")

    async def story(watched: Watched) -> None:
        path.write_text(f"tls_server_config: {{cert_file: {late}, key_file: {key}}}")
        await watched.until(lambda: bool(errors()))
        await asyncio.sleep(1.5)
        assert watched.told == []
        certificate.rename(late)
        await watched.until(lambda: bool(watched.told))

    def errors() -> list[str]:
        return [getattr(one, "error", "") for one in caplog.records if one.levelno == logging.ERROR]

    told = watching(path, story).told
    assert told[0].context is not None
    assert len(errors()) == 1
    assert str(late) in errors()[0]
    assert "No such file" in errors()[0]


def test_it_can_be_hurried(tmp_path: Path) -> None:
    """A signal does not wait for the next look."""
    path = tmp_path / "web.yml"
    path.write_text("rate_limit: {interval: 1s}")

    async def story(watched: Watched) -> None:
        path.write_text("rate_limit: {interval: 3s}")
        watched.watch.hurry()
        began = time.monotonic()
        await watched.until(lambda: bool(watched.told))
        assert time.monotonic() - began < 0.4

    assert len(watching(path, story).told) == 1


def test_a_bucket() -> None:
    """Gives what it holds at once, then one each interval."""
    now = 0.0
    bucket = Bucket(RateLimit(2.0, 3), lambda: now)
    assert [bucket.take() for _ in range(5)] == [True, True, True, False, False]
    now = 1.9
    assert not bucket.take()
    now = 2.1
    assert [bucket.take() for _ in range(2)] == [True, False]
    now = 1000.0
    assert [bucket.take() for _ in range(4)] == [True, True, True, False]


def test_no_bucket() -> None:
    """Never runs dry."""
    bucket = Bucket(None)
    assert all(bucket.take() for _ in range(1000))
