# SPDX-License-Identifier: Apache-2.0
"""The server holds the descriptors, and no privilege, compiler or heap of theirs."""

import re
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.guest import BareMetalGuest
from tests.guest.requirements import require_kvm
from tests.kvm.exporter import Exporter

NOBODY = 65534
SERVICE = "65530"  # nobody else's
AMBIENT = ("bpf", "perfmon", "sys_ptrace", "dac_override", "syslog")  # as in the unit
MIB = 1 << 20
WAIT_SECONDS = 30.0


@pytest.fixture(autouse=True)
def _kvm() -> None:
    require_kvm()


def test_the_server_reads_on_as_nobody() -> None:
    """As uid 65534 and without any capability, the server's numbers stay exact."""
    with Exporter("--user", str(NOBODY)) as exporter, BareMetalGuest("watched") as guest:
        status = Path(f"/proc/{exporter.pid}/status").read_text()
        assert re.search(rf"^Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}$", status, re.MULTILINE)
        assert re.search(rf"^Gid:\t{NOBODY}\t", status, re.MULTILINE)
        assert re.search(r"^Groups:\t\s*$", status, re.MULTILINE)
        for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert re.search(rf"^{kind}:\t0+$", status, re.MULTILINE)
        guest.wait_ready()
        before = exporter.scrape().sum("kvm_vm_io_exits_total", vm="watched", direction="read")
        guest.run(serial_read=1009)
        after = exporter.scrape().sum("kvm_vm_io_exits_total", vm="watched", direction="read")
        assert after - before == 1009


def test_devices_are_attributed_as_nobody() -> None:
    """Of VMs that start after root was given up, whose QMP sockets are root's alone."""
    with Exporter("--user", str(NOBODY)) as exporter, BareMetalGuest("later") as guest:
        assert guest.qmp_path.parent.stat().st_uid == 0
        guest.qmp_path.chmod(0o600)
        guest.qmp_path.parent.chmod(0o700)
        guest.wait_ready()
        deadline = time.monotonic() + WAIT_SECONDS
        while not exporter.scrape().values("kvm_vm_device_info", vm="later"):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        before = exporter.scrape().sum("kvm_vm_io_exits_total", vm="later", driver="isa-serial")
        guest.run(serial_read=1009)
        scrape = exporter.scrape()
        after = scrape.sum("kvm_vm_io_exits_total", vm="later", driver="isa-serial")
        assert after - before >= 1009
        assert scrape.sum("kvm_vm_vcpus", vm="later") == 1
        assert scrape.sum("kvmexporter_vm_refresh_age_seconds", vm="later") < WAIT_SECONDS
        (opener,) = psutil.Process(exporter.pid).children()
        assert opener.uids() == (NOBODY,) * 3
    assert not psutil.pid_exists(opener.pid)


def test_a_service_with_ambient_capabilities() -> None:
    """As the unit starts it: it gives up in every thread what it was given, and goes on."""
    kept = ",".join(f"+{name}" for name in AMBIENT)
    prefix = (
        *("setpriv", "--reuid", SERVICE, "--regid", SERVICE, "--clear-groups"),
        *("--bounding-set", f"-all,{kept}"),
        *("--inh-caps", f"-all,{kept}", "--ambient-caps", f"-all,{kept}"),
    )
    with Exporter(prefix=prefix) as exporter, BareMetalGuest("served") as guest:
        guest.wait_ready()
        for thread in Path(f"/proc/{exporter.pid}/task").iterdir():
            status = (thread / "status").read_text()
            assert re.search(rf"^Uid:\t{SERVICE}\t", status, re.MULTILINE)
            for kind in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
                assert re.search(rf"^{kind}:\t0+$", status, re.MULTILINE)
        deadline = time.monotonic() + WAIT_SECONDS
        while not exporter.scrape().values("kvm_vm_device_info", vm="served"):
            assert time.monotonic() < deadline
            time.sleep(0.2)
        before = exporter.scrape().sum("kvm_vm_io_exits_total", vm="served", direction="read")
        guest.run(serial_read=1009)
        after = exporter.scrape().sum("kvm_vm_io_exits_total", vm="served", direction="read")
        assert after - before == 1009


def test_the_server_is_small() -> None:
    """With one VM: no LLVM or bcc mapped, under 40 MiB resident, no child left."""
    with Exporter() as exporter, BareMetalGuest("one") as guest:
        guest.wait_ready()
        guest.run(serial_read=7)
        for _ in range(20):
            exporter.scrape()
        server = psutil.Process(exporter.pid)
        mapped = {Path(region.path).name for region in server.memory_maps()}
        assert not [name for name in mapped if re.search("LLVM|clang|bcc", name, re.IGNORECASE)]
        assert server.memory_info().rss < 40 * MIB
        assert server.children() == []


def test_the_probes_end_with_the_server() -> None:
    """Killed outright, the server leaves no map, program or link in the kernel."""
    with Exporter() as exporter:
        held = bpf_objects(exporter.pid)
        assert {"map_id", "prog_id"} <= {kind for kind, _ in held}
        assert exporter.end(signal.SIGKILL) == -signal.SIGKILL
    with Exporter("--no-bpf"):
        left = {one for pid in psutil.pids() for one in bpf_objects(pid)}
        assert not held & left


def bpf_objects(pid: int) -> set[tuple[str, str]]:
    """The BPF maps and programs whose descriptors a process holds: (kind, id)."""
    found = set()
    for entry in Path(f"/proc/{pid}/fdinfo").glob("*"):
        try:
            info = entry.read_text()
        except FileNotFoundError:
            continue
        found |= set(re.findall(r"^(map_id|prog_id|link_id):\t(\d+)$", info, re.MULTILINE))
    return found
