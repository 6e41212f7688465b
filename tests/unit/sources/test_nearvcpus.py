# SPDX-License-Identifier: Apache-2.0
"""Records in places of their own: read, and given back when their threads have ended."""

import struct
from collections.abc import Iterator

import pytest

from tests.unit.near_places import NearPlaces
from tests.unit.vcpu_records import MemoryMap, live_key, record, retired_key

TGID, CREATED_NS = 500, 3_000_000_000


@pytest.fixture
def near() -> Iterator[NearPlaces]:
    made = NearPlaces(MemoryMap)
    yield made
    made.close()


def test_a_thread_that_lives(near: NearPlaces) -> None:
    """Its record is told under its number, as often as it is asked for."""
    made = record(TGID, CREATED_NS, tid=1501, exits={1: 7})
    near.take(1501, made)
    assert list(near.reader.items()) == [(live_key(1501), made)]
    assert list(near.reader.items()) == [(live_key(1501), made)]
    assert list(near.reader.drain()) == []


def test_a_thread_that_has_ended(near: NearPlaces) -> None:
    """Its record is told once, as those of ended threads are, and its place is free and empty."""
    made = record(TGID, CREATED_NS, tid=0, exits={1: 7})
    near.take(1501, made)
    assert list(near.reader.items()) == []
    assert list(near.reader.drain()) == [(retired_key(1501, TGID, CREATED_NS), made)]
    assert list(near.reader.drain()) == []
    assert list(near.owners.items()) == []
    assert near.records.get(struct.pack("I", 1501 % 1024)) == bytes(len(made))


def test_a_place_that_was_just_taken(near: NearPlaces) -> None:
    """Until its record is made it belongs to nobody, and stays taken."""
    near.take(1501, record(0, 0))
    assert list(near.reader.items()) == []
    assert list(near.reader.drain()) == []
    assert len(list(near.owners.items())) == 1
