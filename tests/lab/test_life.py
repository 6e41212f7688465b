# SPDX-License-Identifier: Apache-2.0
"""VMs, vCPUs and the exporter itself come and go; the counts stay right and nothing leaks."""

import dataclasses
import time
from functools import partial
from pathlib import Path

import psutil

from tests.guest import BareMetalGuest
from tests.lab.bare_metal import booted
from tests.lab.exporter import Exporter, Scrape
from tests.lab.guests import LinuxGuest
from tests.lab.host import Host
from tests.lab.window import observe
from tests.waiting import eventually

MIB = 1 << 20
SHORT_LIVED = 32
wait_until = partial(eventually, seconds=60, every=0.3)


def exits(scrape: Scrape, vm: str) -> float:
    return scrape.total("kvm_vm_exits_total", vm=vm)


def held(server: psutil.Process) -> int:
    """What it keeps between its works, bytes: one reading may fall into a visit or a sampling."""
    readings = []
    for _ in range(30):
        readings.append(server.memory_info().rss)
        time.sleep(0.1)
    return int(min(readings))


def test_three_vms_at_once(session_exporter: Exporter, host: Host) -> None:
    """A paused VM stands still, a busy one is counted exactly, a restarted one begins anew."""
    exporter = session_exporter
    busy = host.start(LinuxGuest("busy", vcpus=2))
    with booted("paused") as paused:
        paused.pause()  # an idle one still takes a whole processor
        with booted("again") as again:
            three_at_once(exporter, busy, again)


def three_at_once(exporter: Exporter, busy: LinuxGuest, again: BareMetalGuest) -> None:
    again.run(serial_read=5003)
    time.sleep(0.5)
    before = exporter.scrape()
    assert exits(before, "again") > 5003
    again.kill()
    with booted("again") as restarted:
        window = observe(exporter, busy, lambda: busy.run("cat /proc/interrupts; sleep 1"))
        ours = window.moved("kvm_vm_exits_total", "reason", vm="busy")
        assert {key[0]: n for key, n in ours.items()} == dict(window.by_reason())
        assert exits(window.after, "paused") == exits(before, "paused")
        assert exits(window.after, "paused") > 0
        pids = [s.labels["pid"] for s in window.after.samples("kvm_vm_info", vm="again")]
        assert pids == [str(restarted.pid)]
        reads = {"vm": "again", "access": "pio", "direction": "read"}
        firmware = exporter.scrape().total("kvm_vm_io_exits_total", **reads)
        restarted.run(serial_read=7)
        after = exporter.scrape().total("kvm_vm_io_exits_total", **reads)
        assert after - firmware == 7
        assert after < before.total("kvm_vm_io_exits_total", **reads)


def test_live_migration(session_exporter: Exporter, host: Host) -> None:
    """The name goes over to the new process, whose counters begin anew; no series is twice."""
    exporter = session_exporter
    source = host.start(LinuxGuest("moving"))
    # `-name` twice: the last one counts, and the two directories stay apart.
    twin = dataclasses.replace(source.twin("moving-to"), extra=("-name", "guest=moving"))
    target = host.start(twin, incoming=True)
    source.run("sleep 1")
    before = exporter.scrape()
    old = exits(before, "moving")
    assert before.value("kvm_vm_info", vm="moving", pid=str(source.pid)) == 1
    source.migrate_to(target)
    both = exporter.scrape()
    assert exits(both, "moving") >= old
    assert both.value("kvm_vm_info", vm=f"moving~{target.pid}", pid=str(target.pid)) == 1
    source.stop()
    after = exporter.scrape()
    assert [s.labels["pid"] for s in after.samples("kvm_vm_info")] == [str(target.pid)]
    assert after.value("kvm_vm_info", vm="moving", pid=str(target.pid)) == 1
    assert 0 < exits(after, "moving") < old
    target.run("sleep 1")
    later = exporter.scrape()
    by_reason = after.by("reason", "kvm_vm_exits_total", vm="moving")
    later_by_reason = later.by("reason", "kvm_vm_exits_total", vm="moving")
    assert all(count <= later_by_reason[reason] for reason, count in by_reason.items())
    assert exits(later, "moving") > exits(after, "moving")


def test_vcpu_hotplug(session_exporter: Exporter, host: Host) -> None:
    """A vCPU that comes is counted; one whose thread ends takes no count with it."""
    exporter = session_exporter
    guest = host.start(LinuxGuest("plugged", extra=("-smp", "1,maxcpus=2")))
    [slot] = [one for one in guest.qmp("query-hotpluggable-cpus") if "qom-path" not in one]
    guest.qmp("device_add", driver=slot["type"], id="second", **slot["props"])
    cpu = "/sys/devices/system/cpu/cpu1"
    wait_until(lambda: guest.exit_code(f"test -e {cpu}") == 0, "the guest sees its second vCPU")
    guest.run(f"echo 1 >{cpu}/online; taskset 2 cat /proc/cpuinfo >/dev/null")
    wait_until(
        lambda: exporter.scrape().value("kvm_vm_vcpus", vm="plugged") == 2, "two vCPUs are served"
    )
    window = observe(exporter, guest, lambda: guest.run("taskset 2 cat /proc/interrupts"))
    ours = window.moved("kvm_vm_exits_total", "reason", vm="plugged")
    assert {key[0]: n for key, n in ours.items()} == dict(window.by_reason())
    assert len(window.exits) == 2

    assert vcpus_with_records(exporter.scrape(), "plugged") == {"0", "1"}
    guest.qmp("device_del", id="second")
    wait_until(lambda: len(guest.vcpu_tids) == 1, "the second vCPU is gone")
    previous = window.after
    for _ in range(3):
        scrape = exporter.scrape()
        for reason, count in previous.by("reason", "kvm_vm_exits_total", vm="plugged").items():
            assert scrape.by("reason", "kvm_vm_exits_total", vm="plugged")[reason] >= count
        previous = scrape
        time.sleep(0.5)
    assert vcpus_with_records(previous, "plugged") == {"0"}
    assert previous.value("kvm_vm_vcpus", vm="plugged") == 2  # kept for the next one


def vcpus_with_records(scrape: Scrape, vm: str) -> set[str]:
    """Whose threads live, as far as BPF knows."""
    return set(scrape.by("vcpu", "kvm_vm_vcpu_exits_total", vm=vm))


def test_short_lived_vms(session_exporter: Exporter) -> None:
    """32 VMs that come and go leave no entry in any map and no memory behind."""
    exporter = session_exporter

    def live_and_die(number: int) -> None:
        name = f"short-{number}"
        with BareMetalGuest(name) as guest:
            wait_until(lambda: exits(exporter.scrape(), name) > 0, f"{name} exits")
            guest.kill()
        assert f'"{name}"' not in exporter.scrape().text

    server = psutil.Process(exporter.pid)
    for number in range(5):  # what the first of each kind of work takes for good
        live_and_die(number)
    memory = held(server)
    for number in range(5, SHORT_LIVED):
        live_and_die(number)
    after = exporter.scrape()
    entries = after.by("map", "kvmexporter_bpf_map_entries")
    # Of clocks, what is nobody's is kept for two minutes: it may be a VM's that nobody has met yet.
    kept = ("vcpus", "retired", "regions")
    assert {name: entries[name] for name in kept} == dict.fromkeys(kept, 0.0)
    assert not after.samples("kvm_vm_info")
    assert after.by("map", "kvmexporter_bpf_dropped_events_total") == {
        "vcpu": 0,
        "retired": 0,
        "clock": 0,
    }
    assert held(server) - memory < 2 * MIB


def test_the_exporter_ends_while_vms_run(host: Host) -> None:
    """Its probes go with it, ended or killed; the next one starts from nothing and is exact."""
    guest = host.start(LinuxGuest("outlives"))
    first = Exporter(port=19181).start()
    try:
        assert exits(first.wait_for("kvm_vm_exits_total", vm=guest.name), guest.name) > 0
        programs = bpf_programs(first.pid)
        assert programs
        assert first.stop() == 0
    finally:
        first.close()
    assert not programs & all_bpf_programs()
    second = Exporter(port=19182).start()
    try:
        window = observe(second, guest, lambda: guest.run("sleep 1"))
        ours = window.moved("kvm_vm_exits_total", "reason", vm=guest.name)
        assert {key[0]: n for key, n in ours.items()} == dict(window.by_reason())
        programs = bpf_programs(second.pid)
        assert programs
        second.kill()
    finally:
        second.close()
    assert not programs & all_bpf_programs()


def all_bpf_programs() -> set[str]:
    """The ids of the BPF programs that any process holds."""
    return {program for pid in psutil.pids() for program in bpf_programs(pid)}


def bpf_programs(pid: int) -> set[str]:
    """The ids of the BPF programs whose descriptors a process holds."""
    found = set()
    try:
        for fd in Path(f"/proc/{pid}/fdinfo").iterdir():
            for line in fd.read_text().splitlines():
                if line.startswith("prog_id:"):
                    found.add(line.split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return found
    return found
