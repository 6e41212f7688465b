# SPDX-License-Identifier: Apache-2.0
"""What is missing or wrong gets its one clear line, and the rest still serves."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from kvmexporter.bpf.request import PROGRAMS, Program
from kvmexporter.sources import bpfprobes
from tests.guest import BareMetalGuest
from tests.guest.requirements import require_kvm
from tests.kvm.exporter import COMMAND, Exporter

NOBODY = "65534"


@pytest.fixture(autouse=True)
def _kvm() -> None:
    require_kvm()


def in_namespace(script: str) -> list[str]:
    """A prefix that runs a command where `script` has changed what is mounted."""
    return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", f'{script}; exec "$@"',
            "sh"]  # fmt: skip


def hide(*paths: str) -> list[str]:
    """A prefix that runs a command where these directories are empty."""
    return in_namespace("; ".join(f"mount -t tmpfs none {path}" for path in paths))


NO_BCC = hide("/usr/lib/python3/dist-packages")
NO_HEADERS = hide("/usr/src", "/lib/modules")
NO_PRIVILEGE = ["setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]
NO_TRACEFS = in_namespace("while umount -l /sys/kernel/tracing; do :; done 2>/dev/null")
NO_MOUNTING = [*NO_TRACEFS, "setpriv", "--bounding-set", "-sys_admin"]
NO_KVM_EXIT = hide("/sys/kernel/tracing/events/kvm/kvm_exit")


@pytest.mark.parametrize(
    ("prefix", "reason", "remedy"),
    [
        (NO_BCC, "no bcc in ", "python3-bpfcc"),
        (NO_HEADERS, "no kernel headers", "linux-headers-amd64"),
        (NO_PRIVILEGE, "no permission for BPF", "CAP_BPF and CAP_PERFMON"),
    ],
    ids=["no-bcc", "no-headers", "no-permission"],
)
def test_without_bpf_the_rest_serves(prefix: list[str], reason: str, remedy: str) -> None:
    """The log says once what is missing and what to do; VMs are served all the same."""
    with BareMetalGuest("seen-anyway"), Exporter(prefix=prefix) as exporter:
        lines = [line for line in exporter.log().splitlines() if 'msg="no BPF"' in line]
        assert len(lines) == 1
        assert reason in lines[0]
        assert remedy in lines[0]
        scrape = exporter.scrape()
        assert scrape.sum("kvmexporter_collector_success", collector="vms") == 1
        assert not scrape.values("kvmexporter_collector_success", collector="exits")
        if prefix is not NO_PRIVILEGE:  # who may not look at processes sees no VM
            assert scrape.values("kvm_vm_info", vm="seen-anyway")
        page = exporter.get("/")[2].decode()
        assert reason in page


def test_asked_for_by_name_a_missing_collector_has_not_succeeded() -> None:
    """A collector that was asked for and has nothing to read says 0; one that was not, nothing."""
    with Exporter("--no-bpf", "--collector.exits") as exporter:
        scrape = exporter.scrape()
        assert scrape.values("kvmexporter_collector_success", collector="exits")[0][1] == 0
        assert not scrape.values("kvmexporter_collector_success", collector="io")


def test_tracefs_is_mounted_where_allowed() -> None:
    """Without tracefs, it is mounted, and every probe attaches."""
    with Exporter(prefix=NO_TRACEFS) as exporter:
        attached = exporter.scrape().values("kvmexporter_bpf_attached")
        assert {labels["tracepoint"]: value for labels, value in attached}["kvm_exit"] == 1


def test_tracefs_that_cannot_be_mounted_costs_its_probes() -> None:
    """Only the probes that need tracefs are lost, and the log says how to mount it."""
    with Exporter(prefix=NO_MOUNTING) as exporter:
        assert "mount -t tracefs nodev /sys/kernel/tracing" in exporter.log()
        lost = {program.event for program in PROGRAMS if program.kind == "classic"}
        assert exporter.log().count("probe not attached") == len(lost)
        attached = exporter.scrape().values("kvmexporter_bpf_attached")
        assert {labels["tracepoint"] for labels, value in attached if not value} == lost
        assert "kvm_exit" in lost


def test_a_tracepoint_that_does_not_exist_costs_its_own_metrics() -> None:
    """The others are attached, and the log names the one that is not."""
    with Exporter(prefix=NO_KVM_EXIT) as exporter:
        assert "no tracepoint kvm:kvm_exit in this kernel" in exporter.log()
        attached = exporter.scrape().values("kvmexporter_bpf_attached")
        assert [labels["tracepoint"] for labels, value in attached if not value] == ["kvm_exit"]


def test_a_raw_tracepoint_that_does_not_exist() -> None:
    """A kernel without one of the raw tracepoints is told the same way."""
    absent = Program("kvm_no_such_event")
    with bpfprobes.load((*PROGRAMS, absent), max_vcpus=16) as probes:
        states = {state.event: state for state in probes.programs}
        assert states.pop("kvm_no_such_event").reason == (
            "no tracepoint kvm:kvm_no_such_event in this kernel"
        )
        assert all(state.attached for state in states.values())


def refused(*arguments: str) -> tuple[int, str]:
    """Run a command that must end by itself: its exit code and what it says."""
    done = subprocess.run(
        [COMMAND, *arguments], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_the_port_taken() -> None:
    """Exit code 1, and one line that names the address."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        code, said = refused("serve", "--web.listen-address", address)
    assert code == 1
    assert said == (
        f"kvmexporter: cannot listen on {address}: Address already in use; "
        "choose another with --web.listen-address\n"
    )


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--collector.nosuch"], "kvmexporter: No such option '--collector.nosuch'"),
        (["--collector.exit"], "Did you mean"),
        (["--web.listen-address", "nonsense"], "'nonsense' is not an address to listen on"),
        (["--web.listen-address", "::1:80"], "write [::1]:80"),
        (["--web.listen-address", "127.0.0.1:65536"], "is not an address to listen on"),
        (["--web.telemetry-path", "metrics"], "does not begin with /"),
        (["--user", "no-such-user"], "no such user"),
        (["--bpf.python", "/no/such/python"], "/no/such/python: there is no such program"),
        (["--log.level", "loud"], "'loud' is not one of"),
        (["--bpf.max-vcpus", "0"], "0 is not in the range"),
    ],
)
def test_bad_usage(arguments: list[str], line: str) -> None:
    """Exit code 2, and one line that says what is wrong."""
    code, said = refused("serve", *arguments)
    assert code == 2
    assert said.count("\n") == 1
    assert line in said


def test_an_interpreter_without_bcc_is_passed_over() -> None:
    """The project's own interpreter has no bcc; the system's is found without being named."""
    assert not Path(sys.prefix, "lib/python3/dist-packages/bcc").exists()
    with Exporter() as exporter:
        assert exporter.scrape().values("kvmexporter_bpf_attached")
