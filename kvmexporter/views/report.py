# SPDX-License-Identifier: Apache-2.0
"""A diagnosis as sections and tables of words: what `dump` shows, whatever it is printed as.

Findings come first, then VMs, each with its exits, I/O paths, time and memory, then the
host, this system as a guest, and the exporter.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kvmexporter.model.findings import Finding, Severity
from kvmexporter.model.histogram import Histogram
from kvmexporter.model.metrics import Family, Kind, Metric, Value
from kvmexporter.sampler import FINDINGS, Snapshot, State
from kvmexporter.views import activity, facts, quantities
from kvmexporter.views.activity import Activity
from kvmexporter.views.rates import Series, series, since
from kvmexporter.views.topics import Subject, Topic, prefixes, subject, topic

UNCOUNTED = "-"
"""In the place of a number that nobody counted."""

_MOST_UNKNOWN = 8
_MOST_CHARTS = 6
_SEVERITIES = list(Severity)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under headings.

    Attributes:
        headings: one a column; numbers stand under one that ends in a space.
        rows: cells, as long as headings.
        shares: row → its part of the whole, 0 to 1, for bars; empty if it has none.
    """

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    shares: tuple[float, ...] = ()

    def is_number(self, column: int) -> bool:
        """Whether the column's cells stand to the right."""
        return self.headings[column].endswith(" ")


@dataclass(frozen=True, slots=True)
class Distribution:
    """Times of one kind, for a chart."""

    title: str
    times: Histogram


@dataclass(frozen=True, slots=True)
class Section:
    """Tables and distributions about one topic."""

    title: str
    tables: tuple[Table, ...]
    distributions: tuple[Distribution, ...] = ()


@dataclass(frozen=True, slots=True)
class Chapter:
    """Everything about one subject; vm is its name where it is about a VM."""

    title: str
    sections: tuple[Section, ...]
    note: str = ""
    vm: str = ""


@dataclass(frozen=True, slots=True)
class Report:
    """The whole diagnosis.

    Attributes:
        time: when, seconds since the epoch.
        seconds: over which time, None: since counting began.
        findings: worst first.
        overview: a line a VM, None without VMs.
        notes: what to know of the overview's numbers, or why there is none.
        chapters: the VMs, the host, this guest, the exporter.
    """

    time: float
    seconds: float | None
    findings: tuple[Finding, ...]
    overview: Table | None
    notes: tuple[str, ...]
    chapters: tuple[Chapter, ...]


def worst_first(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Findings by severity; those of the host before those of VMs."""
    return tuple(
        sorted(findings, key=lambda one: (_SEVERITIES.index(one.severity), one.vm, one.rule))
    )


def build(snapshot: Snapshot, earlier: Snapshot | None = None) -> Report:
    """The diagnosis of a snapshot, with rates since an earlier one if it is given."""
    moved = since(earlier, snapshot) if earlier else series(snapshot)
    seconds = snapshot.monotonic - earlier.monotonic if earlier else None
    done = activity.split(snapshot.vms, moved, seconds, activity.uncounted(snapshot))
    by_subject: defaultdict[Subject, list[Family]] = defaultdict(list)
    for family in snapshot.families:
        by_subject[subject(family.metric)].append(family)
    own_families = _by_vm(by_subject[Subject.VM])
    chapters = [_vm(one, own_families.get(one.vm.name, []), moved, snapshot) for one in done]
    for whose, title in ((Subject.HOST, "Host"), (Subject.GUEST, "This system as a guest")):
        chapters += _chapter(title, by_subject[whose], moved, seconds)
    chapters.append(_exporter(by_subject[Subject.EXPORTER], moved, seconds, snapshot))
    return Report(
        snapshot.time,
        seconds,
        worst_first(snapshot.findings),
        overview(done) if done else None,
        activity.notes(done) if done else (activity.without_vms(snapshot),),
        tuple(chapters),
    )


def overview(done: Sequence[Activity]) -> Table:
    """A line a VM, busiest first."""
    per = "/s" if any(one.seconds for one in done) else ""
    rows = tuple(
        (
            one.vm.name,
            one.vm.vmm,
            str(one.vm.id.pid),
            "" if one.vm.vcpus is None else str(one.vm.vcpus),
            exits(one),
            accesses(one),
            to_vmm(one),
            used(one, activity.CPU),
            used(one, activity.RUN_DELAY),
        )
        for one in sorted(done, key=lambda one: (-one.all_exits, one.vm.name))
    )
    headings = (
        *("VM", "VMM", "pid ", "vCPU "),
        *(f"exits{per} ", f"I/O{per} ", f"to VMM{per} ", "CPU ", "waited "),
    )
    return Table(headings, rows)


def without_empty_columns(table: Table) -> Table:
    """The table without columns that have no word in any row, the first excepted."""
    kept = [i for i in range(len(table.headings)) if not i or any(row[i] for row in table.rows)]
    return Table(
        tuple(table.headings[i] for i in kept),
        tuple(tuple(row[i] for i in kept) for row in table.rows),
        table.shares,
    )


def exits(one: Activity) -> str:
    """A VM's exits; the least that there were where KVM does not announce them."""
    if one.uncounted.exits:
        return UNCOUNTED
    return f"{'≥' if one.is_least else ''}{quantities.rate(one.all_exits, one.seconds)}"


def accesses(one: Activity) -> str:
    """A VM's accesses to devices."""
    if one.uncounted.io:
        return UNCOUNTED
    return quantities.rate(one.total(activity.IO_EXITS), one.seconds)


def to_vmm(one: Activity) -> str:
    """The exits that a VM's VMM had to handle."""
    if one.uncounted.exits:
        return UNCOUNTED
    return quantities.rate(one.total(activity.USERSPACE), one.seconds)


def used(one: Activity, metric: str) -> str:
    """A VM's CPU time as a part of one CPU, or as it is; "" if nobody measured it."""
    if not one.has(metric):
        return ""
    cpu_seconds = one.total(metric)
    return f"{cpu_seconds / one.seconds:.0%}" if one.seconds else quantities.duration(cpu_seconds)


def of_vm(snapshot: Snapshot, vm: str) -> list[Family]:
    """What a VM has beyond exits, paths and queues."""
    own = [family for family in snapshot.families if subject(family.metric) is Subject.VM]
    return _by_vm(own).get(vm, [])


def _by_vm(families: Iterable[Family]) -> dict[str, list[Family]]:
    """Each VM's part of the families that have no table of their own."""
    result: defaultdict[str, dict[str, Family]] = defaultdict(dict)
    for family in families:
        if family.metric.name in activity.SHOWN:
            continue
        for sample in family.samples:
            own = result[sample.labels[0]]
            if family.metric.name not in own:
                own[family.metric.name] = Family(family.metric)
            own[family.metric.name].add(sample.value, *sample.labels)
    return {vm: list(own.values()) for vm, own in result.items()}


def _vm(
    one: Activity,
    families: Sequence[Family],
    moved: Mapping[Series, Value],
    snapshot: Snapshot,
) -> Chapter:
    vm = one.vm
    about = [vm.vmm, f"pid {vm.id.pid}"]
    if vm.vcpus is not None:
        about.append(f"{vm.vcpus} vCPU")
    tables = {
        Topic.EXITS: exit_tables(one),
        Topic.IO: [*io_tables(one), *_unknown(vm.name, snapshot)],
    }
    sections = _sections(families, moved, one.seconds, tables, vm.name, _distributions(one))
    note = ""
    if not one.all_exits and not one.uncounted.exits:
        note = "no exit seen"
    return Chapter(f"VM {vm.name}  ({', '.join(about)})", sections, note, vm.name)


def _chapter(
    title: str, families: Sequence[Family], moved: Mapping[Series, Value], seconds: float | None
) -> list[Chapter]:
    sections = _sections(families, moved, seconds, {})
    return [Chapter(title, sections)] if sections else []


def _sections(
    families: Iterable[Family],
    moved: Mapping[Series, Value],
    seconds: float | None,
    tables: Mapping[Topic, Sequence[Table]],
    vm: str | None = None,
    distributions: Mapping[Topic, Sequence[Distribution]] | None = None,
) -> tuple[Section, ...]:
    """The topics, each with its own tables and then everything else that is about it."""
    by_topic: defaultdict[Topic, list[Family]] = defaultdict(list)
    for family in families:
        by_topic[topic(family.metric)].append(family)
    sections = []
    for one in Topic:
        found = [without_empty_columns(table) for table in tables.get(one, ()) if table.rows]
        lines = facts.facts(by_topic[one], moved, seconds, vm)
        if lines:
            rows = tuple((line.what, line.of, line.value) for line in lines)
            found.append(Table(("", "", ""), rows))
        if found:
            charts = tuple((distributions or {}).get(one, ()))
            sections.append(Section(one, tuple(found), charts))
    return tuple(sections)


def _distributions(one: Activity) -> dict[Topic, list[Distribution]]:
    """Every distribution of times that the VM has, under its topic."""
    result: defaultdict[Topic, list[Distribution]] = defaultdict(list)
    for (name, labels), value in one.moved.items():
        if isinstance(value, Histogram) and value.count:
            metric = Metric(name, Kind.HISTOGRAM, "")
            title = " ".join((quantities.title(metric, prefixes()), *labels))
            result[topic(metric)].append(Distribution(title, value))
    return {
        about: sorted(found, key=lambda each: -each.times.count)[:_MOST_CHARTS]
        for about, found in result.items()
    }


def exit_tables(one: Activity) -> list[Table]:
    """Exits by reason and vCPU, what the VMM was left with, and privileged accesses."""
    per = "/s" if one.seconds else ""
    whole = sum(one.exits.values())
    ordered = activity.hottest(one.exits)
    tables = [
        Table(
            ("exit reason", "class", f"exits{per} ", "share ", "class p50 ", "class p99 "),
            tuple(
                (
                    reason,
                    exit_class,
                    quantities.rate(count, one.seconds),
                    quantities.share(count, whole),
                    quantities.quantile(one.handling.get(exit_class), 0.5),
                    quantities.quantile(one.handling.get(exit_class), 0.99),
                )
                for (reason, exit_class), count in ordered
            ),
            tuple(count / whole for _, count in ordered),
        )
    ]
    for metric, headings in (
        (activity.VCPU_EXITS, ("vCPU", "exit reason", "class", f"exits{per} ")),
        (activity.USERSPACE, ("userspace exit", f"exits{per} ")),
        (activity.MSRS, ("MSR", "direction", f"accesses{per} ")),
        (activity.HYPERCALLS, ("hypercall", f"calls{per} ")),
    ):
        counts = one.counts(metric)
        rows = tuple(
            (*labels, quantities.rate(count, one.seconds))
            for labels, count in activity.hottest(counts)
        )
        tables.append(Table(headings, rows))
    return tables


def io_tables(one: Activity) -> list[Table]:
    """Devices and paths with who handled how much, then doorbells."""
    per = "/s" if one.seconds else ""
    whole = sum(path.total for path in one.io)
    kicks = activity.hottest(one.counts(activity.KICKS))
    return [
        Table(
            ("device", "path", f"I/O{per} ", "share ", "kernel ", "VMM ", "p50 ", "p99 "),
            tuple(
                (
                    path.name,
                    path.path,
                    quantities.rate(path.total, one.seconds),
                    quantities.share(path.total, whole),
                    quantities.rate(path.kernel, one.seconds),
                    quantities.rate(path.userspace, one.seconds),
                    quantities.quantile(path.handling, 0.5),
                    quantities.quantile(path.handling, 0.99),
                )
                for path in one.io
            ),
            tuple(path.total / whole for path in one.io),
        ),
        Table(
            ("virtqueue of", "queue ", f"kicks{per} "),
            tuple((*labels, quantities.rate(count, one.seconds)) for labels, count in kicks),
        ),
    ]


def _unknown(vm: str, snapshot: Snapshot) -> list[Table]:
    """A few of the addresses that no known device answers for."""
    rows = [
        (one.space, f"{one.address:#x}", f"{one.accesses:,}")
        for one in snapshot.unknown_addresses
        if one.vm == vm
    ]
    return [Table(("nobody's", "address", "accesses seen "), tuple(rows[:_MOST_UNKNOWN]))]


def _exporter(
    families: Sequence[Family],
    moved: Mapping[Series, Value],
    seconds: float | None,
    snapshot: Snapshot,
) -> Chapter:
    rows = tuple(
        (status.name, status.state, status.detail or status.summary) for status in snapshot.statuses
    )
    collectors = Table(("collector", "state", "detail"), rows)
    # Both are told by themselves.
    told = ("kvmexporter_collector_", FINDINGS.name)
    shown = [one for one in families if not one.metric.name.startswith(told)]
    lines = facts.facts(shown, moved, seconds)
    own = Table(("", "", ""), tuple((line.what, line.of, line.value) for line in lines))
    is_complete = all(status.state is State.OK for status in snapshot.statuses)
    note = "" if is_complete else ("What is not ok below is missing from everything that is shown.")
    tables = tuple(table for table in (collectors, own) if table.rows)
    return Chapter("Exporter", (Section("Collectors", tables),) if tables else (), note)
