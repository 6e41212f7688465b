# SPDX-License-Identifier: Apache-2.0
"""Rows of counters: by the processor's own instructions, and by Python's integers."""

import random
from collections.abc import Iterator
from struct import pack

import pytest

from kvmexporter.sources import lanes, machinecode
from kvmexporter.sources.lanes import MOST, Lanes, Rows

_LARGEST = (1 << 64) - 1
_HEAD = b"not counted"


@pytest.fixture(params=["machine code", "integers"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if request.param == "integers":
        monkeypatch.setattr(machinecode, "load", lambda _: None)
    caches = (lanes._native_add, lanes._native_nonzero)
    for one in caches:
        one.cache_clear()
    yield request.param
    for one in caches:
        one.cache_clear()


def added(*rows: list[int]) -> Lanes:
    result = Lanes(len(rows[0]))
    for row in rows:
        result.add(_HEAD + pack(f"{len(row)}Q", *row), len(_HEAD))
    return result


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("count", [1, 2, 3, 61, 2503])
def test_added_up(count: int) -> None:
    """Each counter by itself, and those that are not zero by their places."""
    chance = random.Random(count)
    rows = [[chance.choice([0, 0, chance.getrandbits(60)]) for _ in range(count)] for _ in range(7)]
    total = added(*rows)
    expected = [sum(column) for column in zip(*rows, strict=True)]
    assert list(total.words) == expected
    places, values = total.active()
    assert list(places) == [place for place, word in enumerate(expected) if word]
    assert list(values) == [word for word in expected if word]
    assert list(total.words) == expected


@pytest.mark.usefixtures("way")
def test_a_record_where_it_was_read_to() -> None:
    """In the middle of a buffer that the next ones are read to: its own counters alone."""
    buffer = bytearray(pack("9Q", *range(100, 109)))
    total = Lanes(2)
    for _ in range(3):
        total.add(memoryview(buffer)[24:48], 8)
    assert list(total.words) == [3 * 104, 3 * 105]
    assert buffer == pack("9Q", *range(100, 109))
    with pytest.raises(ValueError, match="24 bytes for 2 counters"):
        total.add(memoryview(buffer)[24:56], 8)


@pytest.mark.usefixtures("way")
def test_sums_do_not_touch_their_neighbours() -> None:
    """Up to the largest count there is."""
    total = added([_LARGEST - 5, 0, 7, 0, 0, _LARGEST - 11], [5, 0, 8, 0, 0, 11])
    assert list(total.words) == [_LARGEST, 0, 15, 0, 0, _LARGEST]


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("words", [[0, 0, 0], [5, 0, 0], [0, 0, 5], [5, 5, 5]])
def test_the_ends(words: list[int]) -> None:
    """None, the first, the last, all."""
    places, values = added(words).active()
    assert dict(zip(places, values, strict=True)) == {
        place: word for place, word in enumerate(words) if word
    }


@pytest.mark.usefixtures("way")
def test_as_many_as_there_can_be() -> None:
    """The last one's place still fits."""
    words = [0] * MOST
    words[-1] = 97
    assert [list(part) for part in added(words).active()] == [[MOST - 1], [97]]


@pytest.mark.parametrize("count", [0, -1, MOST + 1])
def test_impossible_rows(count: int) -> None:
    """Nothing is written beyond what is there."""
    with pytest.raises(ValueError, match=f"{count} counters"):
        Lanes(count)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("size", "offset"), [(23, 0), (25, 0), (24, 1), (24, 25), (0, 0)])
def test_a_record_of_another_size(size: int, offset: int) -> None:
    """It is refused, not read beyond its end."""
    with pytest.raises(ValueError, match="bytes for 3 counters"):
        Lanes(3).add(bytes(size), offset)


def test_machine_code_is_used_here() -> None:
    """Where it may be mapped, which every development host allows."""
    assert lanes._native_add()
    assert lanes._native_nonzero()


@pytest.mark.parametrize("count", [1, 3, 2503, MOST])
def test_rows_do_not_touch_one_another(count: int) -> None:
    """However many there are, each begins at zero and counts for itself."""
    rows = Rows(count)
    made = [rows.make() for _ in range(500)]
    for number, row in enumerate(made):
        row.add(pack("Q", number) * count)
    for number, row in enumerate(made):
        assert (row.words[0], row.words[-1], len(row.words)) == (number, number, count)
