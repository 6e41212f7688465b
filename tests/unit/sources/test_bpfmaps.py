# SPDX-License-Identifier: Apache-2.0
"""BPF maps, made in the kernel for each test."""

import os
import struct
from collections.abc import Iterator

import psutil
import pytest

from kvmexporter.errors import KvmExporterError
from kvmexporter.sources.bpfmaps import BpfMap, MapLayout
from tests.unit.vcpu_records import kernel_map, no_kernel_maps

_NO_MAPS = no_kernel_maps()
pytestmark = pytest.mark.skipif(bool(_NO_MAPS), reason=_NO_MAPS or "bpf(2) works")

MAX_ENTRIES = 1009


@pytest.fixture
def numbers() -> Iterator[BpfMap]:
    with kernel_map("numbers", MapLayout(4, 16, MAX_ENTRIES, {})) as made:
        yield made


def key(number: int) -> bytes:
    return struct.pack("I", number)


def value(number: int) -> bytes:
    return struct.pack("QQ", number, number * number)


def fill(numbers: BpfMap, count: int) -> dict[bytes, bytes]:
    content = {key(number): value(number) for number in range(count)}
    for one, two in content.items():
        numbers.set(one, two)
    return content


def test_one_element(numbers: BpfMap) -> None:
    """Written, read, written over."""
    assert numbers.get(key(3)) is None
    numbers.set(key(3), value(5))
    assert numbers.get(key(3)) == value(5)
    numbers.set(key(3), value(7))
    assert numbers.get(key(3)) == value(7)
    assert numbers.get(key(4)) is None


def test_delete(numbers: BpfMap) -> None:
    """What was removed is gone, its neighbour is not; removing it again is no error."""
    numbers.set(key(3), value(5))
    numbers.set(key(4), value(7))
    numbers.delete(key(3))
    assert numbers.get(key(3)) is None
    assert numbers.get(key(4)) == value(7)
    numbers.delete(key(3))


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 128, 503, MAX_ENTRIES])
def test_items_gives_each_once(numbers: BpfMap, count: int) -> None:
    """Every element once, whatever the number of batches, and all stay."""
    content = fill(numbers, count)
    for _ in range(2):
        items = list(numbers.items())
        assert len(items) == count
        assert dict(items) == content


@pytest.mark.parametrize("count", [0, 1, 64, 65, 503])
def test_how_many_there_were(numbers: BpfMap, count: int) -> None:
    """Known once all were met, and as of then."""
    fill(numbers, count)
    assert [numbers.entries for _ in numbers.views()] == [None] * count
    assert numbers.entries == count
    numbers.set(key(MAX_ENTRIES), value(1))
    assert numbers.entries == count
    assert len(list(numbers.drain())) == numbers.entries == count + 1
    assert list(numbers.drain()) == []
    assert numbers.entries == 0


@pytest.mark.parametrize("count", [0, 1, 64, 65, 503])
def test_views_are_of_the_same(numbers: BpfMap, count: int) -> None:
    """Each holds its value until the next is asked for; it may be kept as bytes."""
    content = fill(numbers, count)
    seen = {}
    for key_, view in numbers.views():
        assert view == content[key_]
        seen[key_] = bytes(view)
    assert seen == content


@pytest.mark.parametrize("count", [0, 1, 64, 65, 503, MAX_ENTRIES])
def test_batches_are_of_the_same(numbers: BpfMap, count: int) -> None:
    """Keys and values of each, one behind the other and in the same order."""
    content = fill(numbers, count)
    seen: list[tuple[bytes, bytes]] = []
    for keys, values in numbers.batches():
        of_keys, of_values = bytes(keys), bytes(values)
        ones = [of_keys[place : place + 4] for place in range(0, len(of_keys), 4)]
        theirs = [of_values[place : place + 16] for place in range(0, len(of_values), 16)]
        seen += zip(ones, theirs, strict=True)
    assert len(seen) == count
    assert dict(seen) == content
    assert numbers.entries == count


def test_some_fields_of_a_value() -> None:
    """Those that are named, whatever lies before, between and behind them."""
    fields = {"a": (0, 8, 1), "b": (8, 4, 1), "c": (12, 4, 1), "d": (16, 8, 1), "e": (24, 8, 1)}
    layout = MapLayout(4, 32, 1, fields)
    data = struct.pack("QIIQQ", 2, 3, 5, (1 << 64) - 1, 11)
    assert layout.struct_of(("b", "d")).unpack(data) == (3, (1 << 64) - 1)
    assert layout.struct_of(("a", "b", "c", "d", "e")).unpack(data) == (2, 3, 5, (1 << 64) - 1, 11)
    assert layout.struct_of(("c",)).unpack_from(data) == (5,)
    with pytest.raises(KeyError, match="'f'"):
        layout.struct_of(("f",))


@pytest.mark.parametrize("count", [0, 1, 64, 65, 503, MAX_ENTRIES])
def test_drain_gives_each_once_and_leaves_none(numbers: BpfMap, count: int) -> None:
    """What was read is gone."""
    content = fill(numbers, count)
    drained = list(numbers.drain())
    assert len(drained) == count
    assert dict(drained) == content
    assert list(numbers.drain()) == []
    assert numbers.get(key(0)) is None


def test_wide_keys() -> None:
    """Keys of more bytes than the kernel's own cursor."""
    with kernel_map("wide", MapLayout(16, 8, 503, {})) as wide:
        content = {struct.pack("QQ", n, ~n & 0xFF): struct.pack("Q", n) for n in range(211)}
        for one, two in content.items():
            wide.set(one, two)
        assert dict(wide.items()) == content
        assert dict(wide.drain()) == content


def test_a_full_map_says_so() -> None:
    """The error names the map."""
    with kernel_map("tiny", MapLayout(4, 8, 2, {})) as tiny:
        tiny.set(key(1), bytes(8))
        tiny.set(key(2), bytes(8))
        with pytest.raises(KvmExporterError, match="BPF map tiny: "):
            tiny.set(key(3), bytes(8))


def test_a_descriptor_of_something_else() -> None:
    """A descriptor that is no map is refused, not trusted."""
    with BpfMap("null", os.open("/dev/null", os.O_RDONLY), MapLayout(4, 8, 1, {})) as null:
        with pytest.raises(KvmExporterError, match="BPF map null: Invalid argument"):
            null.get(key(1))
        with pytest.raises(KvmExporterError, match="BPF map null: Invalid argument"):
            list(null.drain())


def test_close_gives_the_descriptor_back(numbers: BpfMap) -> None:
    """No descriptor is left behind; closing again is no error."""
    before = psutil.Process().num_fds()
    with kernel_map("other", MapLayout(4, 8, 2, {})) as other:
        assert psutil.Process().num_fds() == before + 1
        other.close()
    assert psutil.Process().num_fds() == before
    assert numbers.get(key(1)) is None
