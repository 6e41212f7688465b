# SPDX-License-Identifier: Apache-2.0
"""What is served by default, and what only on demand."""

from collections.abc import Iterable

import pytest

from kvmexporter.model.metrics import RARE_BELOW, Family, Kind, Metric, Value, rare_below
from kvmexporter.model.serving import UNSERVED, has_buckets, note_unserved, served
from tests.unit.snapshots import family, histogram

EXTRA = Metric("kvm_vm_test_total", Kind.COUNTER, "Tests.", ("vm",), extra="test.more")
USUAL = Metric(
    "kvm_vm_stat_total", Kind.COUNTER, "Tests.", ("vm", "stat"), extra="test.more",
    usual=frozenset({"passed"}),
)  # fmt: skip
RARE = Metric("kvm_vm_kind_total", Kind.COUNTER, "Tests.", ("vm", "kind"), rare="test.rare")
TIMES = Metric(
    "kvm_vm_test_seconds", Kind.HISTOGRAM, "Time.", ("vm",), buckets="test.buckets",
    rare="test.rare",
)  # fmt: skip


def values(metric: Metric, given: dict[tuple[str, ...], Value], *extras: str) -> set[str]:
    """The last labels of what is served."""
    return {one.labels[-1] for one in served(family(metric, given), extras).samples}


def test_an_extra_takes_its_flag() -> None:
    """And another's does not do."""
    given: dict[tuple[str, ...], Value] = {("web",): 5003}
    assert values(EXTRA, given) == set()
    assert values(EXTRA, given, "test.rare") == set()
    assert values(EXTRA, given, "test.more") == {"web"}


def test_what_is_usual_does_not() -> None:
    """Some values of the last label are served anyway."""
    given: dict[tuple[str, ...], Value] = {("web", "passed"): 2, ("web", "failed"): 5003}
    assert values(USUAL, given) == {"passed"}
    assert values(USUAL, given, "test.more") == {"passed", "failed"}


def test_what_is_rare_is_left_out_until_it_is_not() -> None:
    """From the thousandth event on a kind is served, with all of its events."""
    given: dict[tuple[str, ...], Value] = {
        ("web", "one"): 1, ("web", "nearly"): RARE_BELOW - 1, ("web", "enough"): RARE_BELOW,
        ("web", "often"): 1_000_003,
    }  # fmt: skip
    assert values(RARE, given) == {"enough", "often"}
    assert values(RARE, given, "test.rare") == {"one", "nearly", "enough", "often"}
    assert [one.value for one in served(family(RARE, given), ()).samples] == [1000, 1_000_003]


@pytest.mark.parametrize(
    ("seconds", "least"), [(0, 1000), (100_000, 1000), (100_100, 1001), (30_000_000, 300_000)]
)
def test_what_is_rare_grows_with_time(seconds: float, least: int) -> None:
    """A day's rarity is a thousand; a year's, one in a hundred seconds."""
    assert rare_below(seconds) == least
    counted = Family(RARE)
    counted.group(("old",), {("nearly",): least - 1, ("enough",): least}, least)
    counted.group(("new",), {("nearly",): RARE_BELOW - 1, ("enough",): RARE_BELOW})
    assert {one.labels: one.value for one in served(counted, ()).samples} == {
        ("old", "enough"): least,
        ("new", "enough"): RARE_BELOW,
    }
    assert {one.labels[0]: one.value for one in unserved([counted]).samples} == {
        "old": least - 1,
        "new": RARE_BELOW - 1,
    }
    times = Family(TIMES)
    for vm, most in (("old", least), ("new", RARE_BELOW)):
        times.group((vm,), {(): histogram({3: most - 1}, 7)}, most)
    assert not served(times, ()).samples
    assert len(served(times, ("test.rare",)).samples) == 2


def unserved(families: Iterable[Family], *extras: str) -> Family:
    told = Family(UNSERVED)
    for one in families:
        note_unserved(told, one, extras)
    return told


def test_what_is_left_out_is_told() -> None:
    """By VM and counter, so that the sums stay whole; nothing of what is served counts twice."""
    counted = Family(RARE)
    counted.group(("web",), {("one",): 1, ("often",): 5003})
    counted.group(("web",), {("nearly",): 999})
    counted.group(("db",), {("some",): 97})
    counted.group(("mail",), {("often",): 1009})
    counted.add(3, "db", "one by itself")
    families = [counted, family(TIMES, {("web",): histogram({3: 5}, 7)})]
    told = unserved(families)
    assert told.metric is UNSERVED
    assert {one.labels: one.value for one in told.samples} == {
        ("web", "kvm_vm_kind_total"): 1000,
        ("db", "kvm_vm_kind_total"): 100,
    }
    assert not unserved(families, "test.rare").samples


def test_a_distribution_is_as_rare_as_its_observations() -> None:
    """Their number counts, not their time."""
    given: dict[tuple[str, ...], Value] = {
        ("long",): histogram({20: 999}, 10**12), ("often",): histogram({0: 500, 3: 500}, 7),
    }  # fmt: skip
    assert values(TIMES, given) == {"often"}
    assert values(TIMES, given, "test.rare") == {"long", "often"}


def test_buckets_take_their_flag() -> None:
    """Where there is one."""
    assert not has_buckets(TIMES, ())
    assert has_buckets(TIMES, ("test.buckets",))
    assert has_buckets(Metric("kvm_vm_other_seconds", Kind.HISTOGRAM, "Time.", ("vm",)), ())


def test_only_a_histogram_has_buckets() -> None:
    """A declaration that says otherwise is refused."""
    with pytest.raises(ValueError, match="a gauge has no buckets"):
        Metric("kvm_vm_test_bytes", Kind.GAUGE, "Bytes.", ("vm",), buckets="test.buckets")
