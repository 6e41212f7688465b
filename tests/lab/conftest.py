# SPDX-License-Identifier: Apache-2.0
"""What every lab test can ask for, and what a failing one leaves behind.

These tests run inside the lab (`make lab`, which is `tests/lab/boot.py`); anywhere else they are
deselected, and so is a test marked `on_kernel("6.12")`, whose answer no kernel changes, on every
other kernel of the lab. A host booted with `--tsc reliable` runs those marked `on_tsc("reliable")`
alone. The summary says so.
"""

import os
import re
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Protocol

import pytest

from tests.lab.exporter import Exporter
from tests.lab.host import Host

_INSIDE = os.environ.get("KVMEXPORTER_LAB") == "1"
_HERE = Path(__file__).parent


class _Saves(Protocol):
    def save_logs(self, target: Path) -> None: ...


_LIVE = pytest.StashKey[dict[str, _Saves]]()
_DESELECTED = pytest.StashKey[dict[str, int]]()


def pytest_configure(config: pytest.Config) -> None:
    """Make room for what the hooks below remember."""
    config.stash[_LIVE] = {}
    config.stash[_DESELECTED] = {}
    config.addinivalue_line("markers", "on_kernel(series): run on this kernel of the lab only")
    config.addinivalue_line(
        "markers", "on_cpu(maker): run where the host's processor is intel only"
    )
    config.addinivalue_line("markers", "long: run by make lab-long only, for its minutes")
    config.addinivalue_line("markers", "soak: run by make soak only, for as long as it is told")
    config.addinivalue_line("markers", "on_tsc(value): run where the host has tsc=value only")


def _why_not(item: pytest.Item) -> str:
    """Why a test does not run here, "" if it does."""
    if not _INSIDE:
        return "run in the lab only: make lab"
    processors = [mark.args[0] for mark in item.iter_markers("on_cpu")] or ["amd"]
    if os.environ.get("KVMEXPORTER_LAB_CPU", "amd") not in processors:
        return f"run on the {processors[0].upper()} host only"
    wanted = [mark.args[0] for mark in item.iter_markers("on_kernel")]
    if wanted and os.environ["KVMEXPORTER_LAB_KERNEL"] not in wanted:
        return f"run on kernel {wanted[0]} only"
    if item.get_closest_marker("long") and not os.environ.get("KVMEXPORTER_LAB_LONG"):
        return "take minutes: make lab-long"
    if item.get_closest_marker("soak") and not os.environ.get("KVMEXPORTER_LAB_SOAK_SECONDS"):
        return "take as long as they are told: make soak"
    tsc = [mark.args[0] for mark in item.iter_markers("on_tsc")] or [""]
    if os.environ.get("KVMEXPORTER_LAB_TSC", "") not in tsc:
        return f"run with --tsc {tsc[0]} only" if tsc[0] else "run without --tsc only"
    return ""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what does not belong here."""
    left_out = {item: _why_not(item) for item in items if _HERE in item.path.parents}
    left_out = {item: reason for item, reason in left_out.items() if reason}
    for reason in left_out.values():
        counts = config.stash[_DESELECTED]
        counts[reason] = counts.get(reason, 0) + 1
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say which tests were left out, and how they are run."""
    for reason, count in config.stash[_DESELECTED].items():
        terminalreporter.write_line(f"tests/lab: {count} tests {reason}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Keep the consoles, the exporter's log and the last scrape of a test that failed."""
    report = yield
    if report.failed:
        name = re.sub(r"[^\w.-]+", "-", item.name)
        target = Path(os.environ["KVMEXPORTER_LAB_RESULTS"]) / "failures" / name
        target.mkdir(parents=True, exist_ok=True)
        (target / "report.txt").write_text(report.longreprtext)
        for kind, live in item.config.stash[_LIVE].items():
            live.save_logs(target / kind)
        kept = sorted(str(path) for path in target.rglob("*") if path.is_file())
        report.sections.append(("kept", "\n".join(kept)))
    return report


def _host(config: pytest.Config, key: str) -> Iterator[Host]:
    host = Host()
    config.stash[_LIVE][key] = host
    try:
        yield host
    finally:
        del config.stash[_LIVE][key]
        host.close()


@pytest.fixture
def host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """The KVM host; its guests and networks go when the test ends."""
    yield from _host(request.config, "host")


@pytest.fixture(scope="module")
def module_host(request: pytest.FixtureRequest) -> Iterator[Host]:
    """The same for guests that a module's tests share, since each takes seconds to boot."""
    yield from _host(request.config, "module_host")


def _exporter(config: pytest.Config, key: str, port: int, *arguments: str) -> Iterator[Exporter]:
    exporter = Exporter(*arguments, port=port)
    config.stash[_LIVE][key] = exporter
    try:
        yield exporter.start()
    finally:
        del config.stash[_LIVE][key]
        exporter.close()


@pytest.fixture
def exporter(request: pytest.FixtureRequest) -> Iterator[Exporter]:
    """A running exporter that serves everything."""
    yield from _exporter(request.config, "exporter", 19177)


@pytest.fixture(scope="session")
def session_exporter(request: pytest.FixtureRequest) -> Iterator[Exporter]:
    """The same, started once, with exits by vCPU; ask for it before the guests it should see."""
    flag = "--collector.exits.per-vcpu"
    yield from _exporter(request.config, "session_exporter", 19178, flag)
