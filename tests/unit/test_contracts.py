# SPDX-License-Identifier: Apache-2.0
"""What holds for every file, every collector and every metric, also for those to come."""

import ast
import importlib
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import kvmexporter
from kvmexporter import sampler
from kvmexporter.collector import Collector, Cycle
from kvmexporter.errors import Unavailable
from kvmexporter.model.metrics import Kind, Metric
from kvmexporter.model.needs import PLATFORMS
from kvmexporter.needs import BPF
from kvmexporter.registry import COLLECTORS
from kvmexporter.tables.remedies import remedies
from tests.unit.host import without_bpf
from tests.unit.procfs_tree import ProcfsTree

PACKAGE = Path(kvmexporter.__file__).parent
ROOT = PACKAGE.parent
UNIT = Path(__file__).parent

# Modules without a test file of their own, and why.
NOT_MIRRORED = {
    "__main__.py": "one call, run as a process by cli/test_main.py",
}
PREFIXES = ("kvm_vm_", "kvm_host_", "kvm_guest_", "kvmexporter_", "process_")
FINDINGS = "kvm_findings"
BASE_UNITS = ("seconds", "bytes", "ratio", "hertz")
OTHER_UNITS = re.compile(
    r"_(ns|nanoseconds|us|usec|microseconds|ms|msec|milliseconds|minutes|hours|days|percent|"
    r"kb|kib|kilobytes|mb|mib|megabytes|gb|gib|gigabytes|bits|khz|mhz|ghz|ppm|ppb)(_|$)"
)
MOST_LINES = {".py": 400, ".c": 200, ".h": 200}
SPDX = re.compile(r"(#|//|/\*|;) SPDX-License-Identifier: (\S.*?)( \*/)?")
# JSON has no comments.
MARKED = {
    ".py", ".c", ".h", ".S", ".ld", ".sh", ".js", ".jsx", ".css", ".toml", ".yml", ".yaml",
    ".service", ".socket",
}  # fmt: skip
MARKED_NAMES = {"Dockerfile", "Makefile"}
DIRECTORIES = (
    PACKAGE, *(ROOT / name for name in ("dashboards", "deploy", "docs", "tests")),
)  # fmt: skip
GENERATED = {"build", "node_modules", "dist", "__pycache__"}
SHAPELESS = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}

MODULES = sorted(PACKAGE.rglob("*.py"))
METRICS = [metric for kind in COLLECTORS for metric in kind.metrics] + list(sampler.METRICS)


def source_files() -> list[Path]:
    """What people have written here, or programs that they have written."""
    found = {path for directory in DIRECTORIES for path in directory.rglob("*")}
    return sorted(
        path
        for path in found.union(ROOT.iterdir())
        if (path.suffix in MARKED or path.name in MARKED_NAMES)
        and not GENERATED & set(path.relative_to(ROOT).parts)
    )


def is_table(path: Path) -> bool:
    """Tables are as long as what they list."""
    return "tables" in path.relative_to(ROOT).parts


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


# Files


def test_every_source_file_says_its_licence_first() -> None:
    """In its first line, or in the second after `#!`."""
    unmarked = []
    for path in source_files():
        lines = path.read_text().splitlines()[:2]
        first = lines[1:] if lines and lines[0].startswith("#!") else lines
        found = SPDX.fullmatch(first[0]) if first else None
        is_bpf = path.parent == PACKAGE / "bpf" and path.suffix in (".c", ".h")
        expected = "(Apache-2.0 OR GPL-2.0-only)" if is_bpf else "Apache-2.0"
        if not found or found[2] != expected:
            unmarked.append(named(path))
    assert unmarked == []


def test_no_file_has_two_subjects() -> None:
    """One that is too long has; tables are exempt."""
    lengths = {
        named(path): len(path.read_text().splitlines())
        for path in source_files()
        if path.suffix in MOST_LINES and not is_table(path)
    }
    too_long = {
        name: lines for name, lines in lengths.items() if lines > MOST_LINES[Path(name).suffix]
    }
    assert too_long == {}


def test_every_module_is_about_something() -> None:
    """No name says "various", and every module says in words what it is about."""
    assert [named(path) for path in source_files() if SHAPELESS & set(path.stem.split("_"))] == []
    silent = [
        named(path)
        for path in source_files()
        if path.suffix == ".py" and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def test_every_module_has_its_tests() -> None:
    """In the same place under tests/unit; exceptions are listed above."""
    expected = {
        path.relative_to(PACKAGE).with_name(f"test_{path.name}")
        for path in MODULES
        if path.name != "__init__.py" and str(path.relative_to(PACKAGE)) not in NOT_MIRRORED
    }
    assert sorted(str(path) for path in expected if not (UNIT / path).exists()) == []
    for name in NOT_MIRRORED:
        assert (PACKAGE / name).exists()


def test_a_package_s_init_holds_no_code() -> None:
    """A docstring and the version: otherwise it would need tests, too."""
    for path in PACKAGE.rglob("__init__.py"):
        body = ast.parse(path.read_text()).body
        assert isinstance(body[0], ast.Expr), named(path)
        for statement in body[1:]:
            assert isinstance(statement, ast.Assign), named(path)


def test_every_module_can_be_imported_without_bcc() -> None:
    """And none asks the host for anything while it is."""
    for path in MODULES:
        if path.name != "__main__.py":
            parts = path.relative_to(ROOT).with_suffix("").parts
            importlib.import_module(".".join(part for part in parts if part != "__init__"))


# Collectors


def test_every_collector_is_registered_once() -> None:
    """Each file in collectors/ has exactly one, and it is in the list."""
    files = {path.stem for path in (PACKAGE / "collectors").glob("*.py")} - {"__init__"}
    registered = Counter(kind.__module__.rpartition(".")[2] for kind in COLLECTORS)
    assert registered == dict.fromkeys(files, 1)


def test_collectors_are_called_like_their_files() -> None:
    """The flag, the file and the `collector` label are one word, valid in each."""
    names = [kind.name for kind in COLLECTORS]
    assert len(set(names)) == len(names)
    for kind in COLLECTORS:
        assert re.fullmatch(r"[a-z][a-z0-9_-]*", kind.name)
        assert kind.name.replace("-", "_") == kind.__module__.rpartition(".")[2]


@pytest.mark.parametrize("kind", COLLECTORS, ids=lambda kind: kind.name)
def test_a_collector_describes_itself(kind: type[Collector[Any]]) -> None:
    """A summary that continues a sentence, and what it can give."""
    assert kind.__doc__
    assert kind.summary == kind.summary.strip()
    assert "\n" not in kind.summary
    assert not kind.summary.endswith(".")
    assert kind.metrics
    assert (PACKAGE / "collectors" / f"{kind.name.replace('-', '_')}.py").exists()


@pytest.mark.parametrize("kind", COLLECTORS, ids=lambda kind: kind.name)
def test_a_collector_says_what_it_needs(kind: type[Collector[Any]]) -> None:
    """For itself, even if that is nothing; what is needed can be mended on every platform."""
    assert "needs" in vars(kind)
    assert (BPF in kind.needs) == kind.needs_bpf
    for need in (*kind.needs, *kind.wants):
        found = remedies(need.name, PLATFORMS)
        assert set(found) == set(PLATFORMS)
        assert all(found.values())


@pytest.mark.parametrize("kind", COLLECTORS, ids=lambda kind: kind.name)
def test_a_collector_gives_only_what_it_declares(
    kind: type[Collector[Any]], tree: ProcfsTree
) -> None:
    """Each metric at most once; what it has nothing to read for is Unavailable."""
    sources = without_bpf(tree)
    collector = kind(sources)
    cycle = Cycle(sources)
    if kind.needs_bpf:
        with pytest.raises(Unavailable):
            collector.sample(cycle)
        return
    try:
        sample = collector.sample(cycle)
    except Unavailable:
        return
    given = [family.metric for family in collector.families(sample)]
    assert len(set(given)) == len(given)
    assert set(given) <= set(kind.metrics)


@pytest.mark.parametrize("kind", COLLECTORS, ids=lambda kind: kind.name)
def test_a_collector_s_extras_are_what_its_metrics_take(kind: type[Collector[Any]]) -> None:
    """Each flag has metrics that it adds to, none waits for a flag that is not there."""
    taken = {
        name
        for metric in kind.metrics
        for name in (metric.extra, metric.buckets, metric.rare, metric.more)
        if name
    }
    assert taken == {f"{kind.name}.{extra}" for extra in kind.extras}
    for what in kind.extras.values():
        assert re.fullmatch(r"Also [a-z].*\.", what)


# Metrics


def test_metric_names_are_unique() -> None:
    """Across all collectors; a histogram's own series belong to it alone."""
    taken = Counter(metric.name for metric in METRICS)
    for metric in METRICS:
        if metric.kind is Kind.HISTOGRAM:
            taken.update(f"{metric.name}_{part}" for part in ("bucket", "count", "sum"))
    assert [name for name, times in taken.items() if times > 1] == []


def by_name(metric: Metric) -> str:
    return metric.name


@pytest.mark.parametrize("metric", METRICS, ids=by_name)
def test_a_metric_s_name(metric: Metric) -> None:
    """Who saw it, what it is, in which base unit."""
    name = metric.name
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name)
    assert name.startswith(PREFIXES) or name == FINDINGS
    assert not OTHER_UNITS.search(name), "base units leave the process"
    assert not name.endswith(("_bucket", "_count", "_sum", "_created"))
    assert name.endswith("_total") == (metric.kind is Kind.COUNTER)
    assert name.endswith("_info") == (metric.kind is Kind.INFO)
    words = name.removesuffix("_total").split("_")
    assert not set(words[:-1]) & set(BASE_UNITS), "the unit comes last"
    if metric.kind is Kind.HISTOGRAM:
        assert words[-1] in BASE_UNITS


@pytest.mark.parametrize("metric", METRICS, ids=by_name)
def test_a_metric_s_help(metric: Metric) -> None:
    """One paragraph that begins and ends as a sentence does."""
    text = metric.help
    assert re.fullmatch(r"[A-Z].*\.", text)
    assert "  " not in text
    assert len(text) >= 20


@pytest.mark.parametrize("metric", METRICS, ids=by_name)
def test_a_metric_s_labels(metric: Metric) -> None:
    """Valid, unique, none that Prometheus makes itself; a VM's metrics begin with its name."""
    assert len(set(metric.labels)) == len(metric.labels)
    for label in metric.labels:
        assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", label)
    assert not set(metric.labels) & {"le", "quantile", "job", "instance"}
    if metric.name.startswith("kvm_vm_"):
        assert metric.labels[:1] == ("vm",)
    elif metric.name != FINDINGS:
        assert "vm" not in metric.labels or metric.name.startswith("kvmexporter_")
