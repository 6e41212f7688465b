# SPDX-License-Identifier: Apache-2.0
"""The capabilities that docs/install.md names are enough; a refused one gives its clear line."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.exporter import Exporter
from tests.lab.guests import LinuxGuest
from tests.lab.host import Host
from tests.lab.window import observe

USER = "65530"  # nobody else's
PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")
NAMED = ("bpf", "perfmon", "dac_read_search", "sys_ptrace")


def unprivileged(*capabilities: str) -> list[str]:
    """A prefix that runs a command as a user of its own with these capabilities alone."""
    kept = "".join(f",+{name}" for name in capabilities)
    return [
        "setpriv", "--reuid", USER, "--regid", USER, "--clear-groups",
        "--bounding-set", f"-all{kept}", "--inh-caps", f"-all{kept}",
        *(["--ambient-caps", f"-all{kept}"] if capabilities else []),
    ]  # fmt: skip


def started(port: int, *capabilities: str) -> Exporter:
    exporter = Exporter(port=port)
    exporter.command = [*unprivileged(*capabilities), *exporter.command]
    return exporter.start()


@pytest.fixture
def open_perf() -> Iterator[None]:
    """What docs/install.md tells to do on Debian's kernels."""
    before = PARANOID.read_text()
    PARANOID.write_text("2")
    yield
    PARANOID.write_text(before)


@pytest.mark.usefixtures("open_perf")
def test_the_named_capabilities_are_enough(host: Host) -> None:
    """With them and as another user, VMs are found and every exit is counted."""
    exporter = started(19183, *NAMED)
    try:
        attached = exporter.scrape().by("tracepoint", "kvmexporter_bpf_attached")
        assert attached == dict.fromkeys(attached, 1.0)
        assert "kvm_exit" in attached
        guest = host.start(LinuxGuest("seen"))
        window = observe(exporter, guest, lambda: guest.run("sleep 1"))
        ours = window.moved("kvm_vm_exits_total", "reason", vm="seen")
        assert {key[0]: n for key, n in ours.items()} == dict(window.by_reason())
        assert window.after.value("kvm_vm_vcpus", vm="seen") == 1
    finally:
        exporter.close()


@pytest.mark.parametrize(
    ("refused", "line"),
    [
        ("bpf", "no permission for BPF"),
        ("perfmon", "kernel.perf_event_paranoid=2, or CAP_SYS_ADMIN"),
        ("dac_read_search", "may not be read"),
    ],
)
def test_a_refused_capability(refused: str, line: str) -> None:
    """Without one of them, the log says in one line what is missing; the rest serves."""
    exporter = started(19184, *(name for name in NAMED if name != refused))
    try:
        assert line in exporter.log()
        assert exporter.scrape().value("kvmexporter_build_info") == 1
    finally:
        exporter.close()


def test_setpriv_does_what_it_is_told() -> None:
    """The prefix leaves exactly the capabilities that it names."""
    status = subprocess.check_output(
        [*unprivileged("bpf"), "grep", "CapEff", "/proc/self/status"], text=True
    )
    assert int(status.split()[1], 16) == 1 << 39
