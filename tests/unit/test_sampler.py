# SPDX-License-Identifier: Apache-2.0
"""Sampling: isolation of failures, sharing, and what is said of it."""

import logging
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import ClassVar

import pytest

from kvmexporter.collector import Collector, Cycle, Sources
from kvmexporter.errors import KvmExporterError, Unavailable
from kvmexporter.model.findings import Finding, Severity
from kvmexporter.model.ignored import Ignored
from kvmexporter.model.metrics import Family, Kind, Metric
from kvmexporter.sampler import METRICS, Sampler, Snapshot, State
from kvmexporter.sources.bpfprobes import ProgramState
from tests.unit.host import Clock, Host, without_bpf
from tests.unit.procfs_tree import ProcfsTree

VALUE = Metric("kvm_host_test_total", Kind.COUNTER, "A count.", ("which",), rare="fine.rare")
OTHER = Metric("kvm_host_test_other", Kind.GAUGE, "Another.", ("which",))
FINDING = Finding("rule", Severity.INFO, "", "subject", "seen", "matters", "remedy")


class Fine(Collector[int]):
    """Counts its samplings."""

    name = "fine"
    summary = "what always works"
    metrics = (VALUE,)
    samplings: ClassVar[int] = 0

    def sample(self, cycle: Cycle) -> int:  # noqa: ARG002 - nothing is read
        Fine.samplings += 1
        return Fine.samplings

    def families(self, sample: int) -> Iterable[Family]:
        family = Family(VALUE)
        family.add(sample, "fine")
        return [family, Family(OTHER)]

    def findings(self, sample: int) -> Iterable[Finding]:  # noqa: ARG002 - always the same
        return [FINDING]


class Broken(Collector[None]):
    """Fails with what it is told to, at the step it is told to."""

    name = "broken"
    summary = "what may fail"
    metrics = (OTHER,)
    error: Exception | None = None
    step = "sample"

    def _fail_at(self, step: str) -> None:
        if self.error and self.step == step:
            raise self.error

    def sample(self, cycle: Cycle) -> None:  # noqa: ARG002 - nothing is read
        self._fail_at("sample")

    def families(self, sample: None) -> Iterator[Family]:  # noqa: ARG002 - there is none
        family = Family(OTHER)
        family.add(1, "broken")
        yield family
        self._fail_at("families")

    def findings(self, sample: None) -> Iterable[Finding]:  # noqa: ARG002 - there is none
        self._fail_at("findings")
        return [FINDING]


class Slow(Collector[int]):
    """Says that it has begun, and waits until it may end."""

    name = "slow"
    summary = "what takes its time"
    metrics = (VALUE,)

    def __init__(self, sources: Sources) -> None:
        super().__init__(sources)
        self.began = threading.Semaphore(0)
        self.may_end = threading.Semaphore(0)
        self.samplings = 0
        self.at_once = 0
        self.most_at_once = 0

    def sample(self, cycle: Cycle) -> int:  # noqa: ARG002 - nothing is read
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.samplings += 1
        number = self.samplings
        self.began.release()
        assert self.may_end.acquire(timeout=10)
        self.at_once -= 1
        return number

    def families(self, sample: int) -> Iterable[Family]:
        family = Family(VALUE)
        family.add(sample, "slow")
        return [family]


def values(snapshot: Snapshot, metric: str) -> dict[tuple[str, ...], object]:
    return {
        sample.labels: sample.value
        for family in snapshot.families
        if family.metric.name == metric
        for sample in family.samples
    }


SUCCESS, DURATION, UNSERVED, FINDINGS = (metric.name for metric in METRICS)


def test_everything_fine(tree: ProcfsTree) -> None:
    """Values, findings, statuses, and the sampler's own metrics at the end."""
    clock = Clock(step=0.25)
    sources = without_bpf(tree)
    sampler = Sampler(sources, [Fine(sources)], (), lambda: 1.7e9, clock)
    snapshot = sampler.snapshot()
    assert snapshot.time == 1.7e9
    assert snapshot.monotonic == 1000.25
    assert snapshot.vms == ()
    assert snapshot.findings == (FINDING,)
    assert [family.metric for family in snapshot.families] == [VALUE, *METRICS]
    assert values(snapshot, SUCCESS) == {("fine",): 1}
    assert values(snapshot, FINDINGS) == {("", "rule", "info"): 1}
    assert values(snapshot, UNSERVED) == {("fine", VALUE.name): Fine.samplings}
    assert values(snapshot, DURATION) == {("fine",): 0.25}
    (status,) = snapshot.statuses
    assert (status.name, status.state, status.detail, status.seconds) == (
        "fine",
        State.OK,
        "",
        0.25,
    )


def test_each_call_samples_anew(tree: ProcfsTree) -> None:
    """Nothing is kept from one scrape to the next."""
    sources = without_bpf(tree)
    sampler = Sampler(sources, [Fine(sources)])
    numbers = [values(sampler.snapshot(), VALUE.name)["fine",] for _ in range(3)]
    assert isinstance(numbers[0], int)
    assert numbers == [numbers[0], numbers[0] + 1, numbers[0] + 2]


@pytest.mark.parametrize("step", ["sample", "families", "findings"])
@pytest.mark.parametrize("error", [KvmExporterError("it broke"), ZeroDivisionError("by zero")])
def test_a_failing_collector_loses_its_own_alone(
    tree: ProcfsTree, step: str, error: Exception
) -> None:
    """Everything of its own, whichever step failed, and nothing of another's."""
    sources = without_bpf(tree)
    broken = Broken(sources)
    broken.error, broken.step = error, step
    snapshot = Sampler(sources, [broken, Fine(sources)]).snapshot()
    assert [family.metric for family in snapshot.families] == [VALUE, *METRICS]
    assert snapshot.findings == (FINDING,)
    assert values(snapshot, SUCCESS) == {("broken",): 0, ("fine",): 1}
    assert set(values(snapshot, DURATION)) == {("broken",), ("fine",)}
    status = snapshot.statuses[0]
    assert (status.state, status.detail) == (State.FAILED, f"{type(error).__name__}: {error}")


@pytest.mark.parametrize(
    ("asked_for", "success"), [((), {("fine",): 1}), (("broken",), {("broken",): 0, ("fine",): 1})]
)
def test_absent_is_not_broken(
    tree: ProcfsTree, asked_for: tuple[str, ...], success: dict[tuple[str, ...], int]
) -> None:
    """What is not there on this system is no failure, unless it was asked for by name."""
    sources = without_bpf(tree)
    broken = Broken(sources)
    broken.error = Unavailable("no libvirt", "install it")
    snapshot = Sampler(sources, [broken, Fine(sources)], asked_for).snapshot()
    assert values(snapshot, SUCCESS) == success
    assert set(values(snapshot, DURATION)) == {("broken",), ("fine",)}
    assert values(snapshot, OTHER.name) == {}
    status = snapshot.statuses[0]
    assert (status.state, status.detail) == (State.UNAVAILABLE, "no libvirt: install it")


def test_trouble_is_logged_when_it_changes(
    tree: ProcfsTree, caplog: pytest.LogCaptureFixture
) -> None:
    """Once when it begins, once when it is another, once when it is over; never per scrape."""
    caplog.set_level(logging.INFO)
    sources = without_bpf(tree)
    broken = Broken(sources)
    sampler = Sampler(sources, [broken])
    course: list[tuple[Exception | None, list[tuple[int, str]]]] = [
        (None, []),
        (KvmExporterError("x"), [(logging.ERROR, "collector failed")]),
        (KvmExporterError("x"), []),
        (KvmExporterError("y"), [(logging.ERROR, "collector failed")]),
        (Unavailable("a", "b"), [(logging.INFO, "collector has nothing to read")]),
        (Unavailable("a", "b"), []),
        (None, [(logging.INFO, "collector works again")]),
        (None, []),
        (Unavailable("a", "b"), []),
        (None, []),
        (Unavailable("c", "b"), [(logging.INFO, "collector has nothing to read")]),
        (None, [(logging.INFO, "collector works again")]),
        (KvmExporterError("x"), [(logging.ERROR, "collector failed")]),
    ]
    for broken.error, said in course:
        caplog.clear()
        sampler.snapshot()
        assert [(record.levelno, record.message) for record in caplog.records] == said


def test_callers_that_come_during_a_sampling(tree: ProcfsTree) -> None:
    """One at a time; each gets one that began after the call."""
    sources = without_bpf(tree)
    slow = Slow(sources)
    sampler = Sampler(sources, [slow])
    with ThreadPoolExecutor(8) as threads:
        first = threads.submit(sampler.snapshot)
        assert slow.began.acquire(timeout=10)
        others = [threads.submit(sampler.snapshot) for _ in range(7)]
        assert slow.samplings == 1
        for _ in range(8):
            slow.may_end.release()
        assert values(first.result(10), VALUE.name) == {("slow",): 1}
        numbers = {values(other.result(10), VALUE.name)["slow",] for other in others}
    assert numbers == set(range(2, 9))
    assert (slow.samplings, slow.most_at_once) == (8, 1)


def test_family_by_family(tree: ProcfsTree) -> None:
    """The same as a snapshot has, and nothing of a collector that fails after its first."""
    sources = without_bpf(tree)
    broken = Broken(sources)
    broken.error, broken.step = RuntimeError("why"), "families"
    sampler = Sampler(sources, [Fine(sources), broken])
    streamed: list[Family] = []
    rest = sampler.stream(streamed.append)
    whole = sampler.snapshot()
    assert rest.families == ()
    assert rest.statuses[1].detail == "RuntimeError: why"
    assert (rest.findings, rest.vms) == (whole.findings, whole.vms)
    names = [family.metric.name for family in streamed]
    assert names == [family.metric.name for family in whole.families]
    assert OTHER.name not in names
    assert sampler.samplings == 2


def test_families_are_handed_over_before_the_next_collector(tree: ProcfsTree) -> None:
    """So that nobody has to keep all of them."""
    sources = without_bpf(tree)
    slow = Slow(sources)
    taken: list[str] = []
    with ThreadPoolExecutor(1) as threads:
        sampler = Sampler(sources, [Fine(sources), slow])
        whole = threads.submit(sampler.stream, lambda family: taken.append(family.metric.name))
        assert slow.began.acquire(timeout=10)
        assert taken == [VALUE.name]
        slow.may_end.release()
        whole.result(10)
    assert taken[:2] == [VALUE.name, VALUE.name]
    assert len(taken) > 2


def test_who_asks_alone_gets_a_sampling_of_ones_own(tree: ProcfsTree) -> None:
    """A finished sampling is never handed out to a later caller."""
    sources = without_bpf(tree)
    slow = Slow(sources)
    sampler = Sampler(sources, [slow])
    for number in (1, 2, 3):
        slow.may_end.release()
        assert values(sampler.snapshot(), VALUE.name) == {("slow",): number}


def test_what_breaks_everything_blocks_nobody(tree: ProcfsTree) -> None:
    """If sampling itself fails, the caller is told, and the next one gets a fresh attempt."""
    sources = without_bpf(tree)
    clocks: Iterator[float] = iter([])
    sampler = Sampler(sources, [Fine(sources)], (), lambda: next(clocks))
    for _ in range(2):
        with pytest.raises(StopIteration):
            sampler.snapshot()
    clocks = iter([1.5])
    assert sampler.snapshot().time == 1.5


def test_vms_come_with_the_snapshot(host: Host) -> None:
    """Oldest first, under the names that the metrics have."""
    host.tree.process(10, ["/usr/bin/qemu-system-x86_64", "-name", "web"], start_ticks=200)
    host.tree.process(11, ["/usr/bin/qemu-system-x86_64", "-name", "web"], start_ticks=100)
    assert [vm.name for vm in host.snapshot().vms] == ["web", "web~10"]


class Advising(Fine):
    """Finds the same thing on two devices of one VM, something worse, and of the host."""

    def findings(self, sample: int) -> Iterable[Finding]:  # noqa: ARG002 - always the same
        slow = Finding("slow", Severity.INFO, "web", "net0", "seen", "matters", "remedy")
        return [
            replace(slow, vm="db"),
            slow,
            replace(slow, subject="net1"),
            FINDING,
            replace(slow, rule="lost", severity=Severity.CRITICAL),
            replace(slow, rule="lost", severity=Severity.WARNING),
        ]


@pytest.mark.parametrize(
    ("ignored", "counts"),
    [
        (
            [],
            {
                ("web", "lost", "critical"): 1,
                ("web", "lost", "warning"): 1,
                ("", "rule", "info"): 1,
                ("db", "slow", "info"): 1,
                ("web", "slow", "info"): 2,
            },
        ),
        (
            [Ignored("slow", "web"), Ignored("lost")],
            {("", "rule", "info"): 1, ("db", "slow", "info"): 1},
        ),
    ],
)
def test_findings_are_counted_worst_first(
    ignored: list[Ignored], counts: dict[tuple[str, ...], int], tree: ProcfsTree
) -> None:
    """By VM, rule and severity; those that are ignored are neither told nor counted."""
    sources = without_bpf(tree)
    snapshot = Sampler(sources, [Advising(sources)], ignored=ignored).snapshot()
    assert values(snapshot, FINDINGS) == counts
    told = list(dict.fromkeys((one.vm, one.rule, str(one.severity)) for one in snapshot.findings))
    assert told == list(counts)
    assert len(snapshot.findings) == sum(counts.values())


def test_whether_vms_may_have_been_missed(host: Host) -> None:
    """A view has to know before it says that none runs."""
    assert host.snapshot().sees_all_vms
    (host.tree.root / "self").symlink_to("10")  # mounted with hidepid
    assert not host.snapshot().sees_all_vms


@pytest.mark.parametrize(
    ("programs", "hears"),
    [
        ((ProgramState("kvm_exit", True, ""), ProgramState("kvm_pio", False, "gone")), True),
        ((ProgramState("kvm_exit", False, "gone"), ProgramState("kvm_pio", True, "")), False),
    ],
)
def test_whether_exits_are_heard(
    host: Host, programs: tuple[ProgramState, ...], hears: bool
) -> None:
    """Whichever collectors run: a view has to know before it says that KVM announces none."""
    host.programs = programs
    assert host.snapshot().hears_exits == hears


def test_without_bpf_nothing_is_heard(tree: ProcfsTree) -> None:
    """The collectors say why."""
    assert not Sampler(without_bpf(tree), []).snapshot().hears_exits
