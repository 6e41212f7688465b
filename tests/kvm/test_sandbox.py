# SPDX-License-Identifier: Apache-2.0
"""The server as the shipped unit runs it: in that sandbox it does everything, and nothing else."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import sandbox, service
from tests.guest import VIRTIO_BLK, BareMetalGuest
from tests.guest.requirements import require_kvm
from tests.kvm.exporter import Exporter, Scrape
from tests.waiting import eventually

SANDBOX = (sys.executable, "-m", "tests.sandbox")
BALLOON = ("-device", "virtio-balloon-pci,id=balloon0")
READS = 1009

# What a server that was taken over would try, and what it is told.
ATTEMPTS = """
import ctypes, errno, json, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    return 0 if libc.syscall(*arguments) >= 0 else ctypes.get_errno()
def attempt(what):
    try:
        what()
    except OSError as err:
        return errno.errorcode[err.errno]
    return "done"
def name(number):
    return errno.errorcode.get(number, "done")
print(json.dumps({
    "write below /usr": attempt(lambda: open("/usr/kvmexporter", "w")),
    "write below /etc": attempt(lambda: open("/etc/kvmexporter.new", "w")),
    "write a tunable": attempt(lambda: open("/proc/sys/kernel/perf_event_paranoid", "w")),
    "what is in /root": os.listdir("/root"),
    "write to /tmp": attempt(lambda: open("/tmp/kvmexporter", "w").close()),
    "a packet socket": attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW)),
    "a user namespace": name(call(272, 0x10000000)),
    "load a module": name(call(313, -1, b"", 0)),
    "reboot": name(call(169, 0, 0, 0)),
    "set the clock": attempt(lambda: __import__("time").clock_settime(0, 0)),
    "real-time priority": attempt(lambda: os.sched_setscheduler(0, 1, os.sched_param(1))),
    "a set-uid program": attempt(lambda: os.chmod("/tmp/kvmexporter", 0o4755)),
    "read the disk": attempt(lambda: os.stat("/dev/mem")),
}))
"""
TOLD = {
    "write below /usr": "EROFS",
    "write below /etc": "EROFS",
    "write a tunable": "EROFS",
    # Nothing but this tree, which the command is run from, if it is there.
    "what is in /root": list(sandbox.TREE.parts[2:3])
    if sandbox.TREE.is_relative_to("/root")
    else [],
    "write to /tmp": "done",
    "a packet socket": "EAFNOSUPPORT",
    "a user namespace": "EPERM",
    "load a module": "EPERM",
    "reboot": "EPERM",
    "set the clock": "EPERM",
    "real-time priority": "EPERM",
    "a set-uid program": "EPERM",
    "read the disk": "ENOENT",
}


@pytest.fixture(autouse=True)
def _kvm() -> None:
    require_kvm()


@pytest.fixture(scope="module")
def as_root() -> Iterator[Exporter]:
    """What the one in the sandbox is compared with."""
    with Exporter() as running:
        yield running


@pytest.fixture(scope="module")
def exporter() -> Iterator[Exporter]:
    with Exporter(prefix=SANDBOX) as running:
        yield running
        assert running.end(signal.SIGTERM) == 0
        assert running.log().splitlines()[-1].endswith("msg=ended")
    sandbox.remove_cgroup()


@pytest.fixture(scope="module")
def guest(
    exporter: Exporter,
    as_root: Exporter,  # noqa: ARG001 - both count from its start
) -> Iterator[BareMetalGuest]:
    with BareMetalGuest("boxed", devices=(*VIRTIO_BLK, *BALLOON)) as machine:
        machine.wait_ready(120)
        eventually(
            lambda: exporter.scrape().values("kvm_vm_balloon_actual_bytes", vm="boxed"),
            "what the VM's monitor says",
            seconds=60,
            every=0.2,
        )
        yield machine


def test_every_setting_of_the_unit_is_applied() -> None:
    """One that nobody knows is refused."""
    sandbox.check()
    known = dict(service.settings())
    with pytest.raises(ValueError, match="ProtectClock"):
        sandbox.check(known | {"ProtectClock": ["yes"]})
    with pytest.raises(ValueError, match="ProtectHome"):
        sandbox.check(known | {"ProtectHome": ["read-only"]})


def test_what_a_server_that_was_taken_over_could_do() -> None:
    """Nothing of this, though it may do all that it has to."""
    done = subprocess.run(
        [*SANDBOX, sys.executable, "-c", ATTEMPTS], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == TOLD


def test_it_is_in_the_sandbox(exporter: Exporter) -> None:
    """Its user, no capability, a bounding set as in the unit, a filter, no new privileges."""
    status = Path(f"/proc/{exporter.pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines())
    assert fields["Uid"].split() == [str(sandbox.USER)] * 4
    assert fields["Groups"].split() == []
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
        assert int(fields[kind], 16) == 0
    assert int(fields["CapBnd"], 16).bit_count() == len(service.words("CapabilityBoundingSet"))


def test_it_sees_all_that_root_sees(
    exporter: Exporter, as_root: Exporter, guest: BareMetalGuest
) -> None:
    """The same collectors, programs and metrics: of this VM, of the host and of its clocks."""
    assert guest.name == "boxed"
    # Each asks the VM's monitor at a time of its own.
    eventually(
        lambda: told(exporter.scrape()) == told(as_root.scrape()),
        lambda: f"difference {told(exporter.scrape()) ^ told(as_root.scrape())}",
        seconds=60,
        every=0.5,
    )
    boxed, root = exporter.scrape(), as_root.scrape()
    for name in ("kvmexporter_collector_success", "kvmexporter_bpf_attached"):
        assert sorted(map(repr, boxed.values(name))) == sorted(map(repr, root.values(name)))
        assert boxed.values(name)
    for name in (
        "kvm_vm_device_info", "kvm_vm_balloon_actual_bytes", "kvm_vm_io_exits_total",
        "kvm_vm_kvm_stat_total", "kvm_vm_run_delay_seconds_total", "kvm_host_clocksource_info",
        "kvm_host_clock_offset_seconds",
    ):  # fmt: skip
        assert name in told(boxed)
    log = subprocess.run(["dmesg"], capture_output=True, text=True, check=True).stdout
    if re.search(r"tsc: (Detected|Refined)", log):  # a log that has grown long forgets it
        assert "kvm_host_tsc_frequency_hertz" in told(boxed)


def told(scrape: Scrape) -> set[str]:
    """Names of what is served, other tests' VMs left out."""
    return {name for name, labels, _ in scrape.samples if labels.get("vm", "boxed") == "boxed"}


def test_counts_are_exact(exporter: Exporter, guest: BareMetalGuest) -> None:
    """By device, which the opener child has asked QEMU for."""
    serial = {"vm": "boxed", "driver": "isa-serial", "direction": "read"}
    before = exporter.scrape().sum("kvm_vm_io_exits_total", **serial)
    guest.run(serial_read=READS)
    assert exporter.scrape().sum("kvm_vm_io_exits_total", **serial) - before == READS


def test_the_kernel_refused_nothing(exporter: Exporter, guest: BareMetalGuest) -> None:
    """No trouble in the log, and it reloads as the unit says."""
    assert guest.name == "boxed"
    subprocess.run(["kill", "-HUP", str(exporter.pid)], check=True)
    assert exporter.get("/-/healthy")[0] == 200
    trouble = [line for line in exporter.log().splitlines() if " level=info " not in line]
    # The monitor serves one at a time, and there are two who ask; other tests' VMs come and go.
    assert [line for line in trouble if 'msg="VM not visited"' not in line] == []


def test_its_memory_and_tasks_are_within_the_limits(exporter: Exporter) -> None:
    """With LLVM's, while it started."""
    assert exporter.get("/-/ready")[0] == 200
    most_bytes, most_tasks = sandbox.most_used()
    assert 0 < most_bytes < sandbox.size(service.words("MemoryMax")[0])
    assert 0 < most_tasks < int(service.words("TasksMax")[0])
