# SPDX-License-Identifier: Apache-2.0
"""The lab's own tests: before it is asked about the exporter, it has to do what it says."""

import json
import os
import socket
import subprocess
import time

import pytest

from tests.lab.devices import Disk, UserNic
from tests.lab.guests import LinuxGuest
from tests.lab.host import Host
from tests.lab.shell import GuestError
from tests.lab.witness import EventCount, WitnessError, kvm_statistics

pytestmark = pytest.mark.on_kernel("6.12")


def _every_device(host: Host) -> LinuxGuest:
    """One guest with every kind of device."""
    return host.start(
        LinuxGuest(
            "every-device",
            vcpus=2,
            memory_mib=256,
            disks=(
                Disk("blk"),
                Disk("blk-thread", iothread=True),
                Disk("blk-exits", ioeventfd=False),
                Disk("scsi", bus="virtio-scsi", iothread=True),
                Disk("ide", bus="ide"),
            ),
            nics=(
                host.tap("vhost"),
                host.tap("tap-qemu", vhost=False),
                host.tap("tap-e1000", model="e1000"),
                UserNic("user", network=2),
            ),
            balloon=True,
            console=True,
            agent=True,
        )
    )


@pytest.fixture
def guest(module_host: Host) -> LinuxGuest:
    """A guest with every kind of device, shared by the tests that leave it as they found it."""
    return module_host.keep(_every_device)


def _agent(guest: LinuxGuest, command: str) -> object:
    with socket.socket(socket.AF_UNIX) as channel:
        channel.settimeout(30)
        channel.connect(str(guest.directory / "agent.sock"))
        channel.sendall(json.dumps({"execute": command}).encode() + b"\n")
        return json.loads(channel.makefile().readline())


def test_shell_obeys(guest: LinuxGuest) -> None:
    """A guest answers with exactly what a command wrote and with its exit code."""
    assert guest.run("printf 'one\\nEND 1 0\\ntwo'; echo three >&2") == "one\nEND 1 0\ntwothree\n"
    assert guest.exit_code("exit 7") == 7
    assert guest.exit_code("true") == 0
    with pytest.raises(GuestError, match="exit code 3"):
        guest.run("exit 3")


def test_long_output(guest: LinuxGuest) -> None:
    """Nothing is lost of an output far longer than the serial port's buffers."""
    assert guest.run("seq 1 3000") == "".join(f"{n}\n" for n in range(1, 3001))


def test_guest_runs_the_same_kernel_under_kvm(guest: LinuxGuest) -> None:
    """The guest's kernel is the host's, and kvm-clock is its clock."""
    assert guest.run("uname -r").strip() == os.uname().release
    clock = "/sys/devices/system/clocksource/clocksource0"
    assert "kvm-clock" in guest.run(f"cat {clock}/available_clocksource")


@pytest.mark.parametrize(
    ("bus", "devices"),
    [("virtio", ("vda", "vdb", "vdc")), ("scsi and ide", ("sda", "sdb"))],
)
def test_disks(guest: LinuxGuest, bus: str, devices: tuple[str, ...]) -> None:
    """What is written to a disk of any kind is read back from it."""
    for device in devices:
        text = guest.run(
            f"echo {bus} {device} >/tmp/written; truncate -s 4096 /tmp/written;"
            f"dd if=/tmp/written of=/dev/{device} bs=4096 seek=97 conv=fsync 2>/dev/null;"
            f"echo 3 >/proc/sys/vm/drop_caches;"
            f"dd if=/dev/{device} bs=4096 skip=97 count=1 2>/dev/null | tr -d '\\0'"
        )
        assert text == f"{bus} {device}\n"


@pytest.mark.parametrize("number", [0, 1, 2, 3], ids=["vhost", "tap", "e1000", "user"])
def test_network(guest: LinuxGuest, number: int) -> None:
    """Packets go to the peer of every NIC and come back, all of them."""
    text = guest.run(f"ping -c 5 -i 0.2 -W 5 {guest.nics[number].peer}")
    assert "5 packets received" in text


def test_vhost_has_its_worker(guest: LinuxGuest) -> None:
    """Of the NICs on a tap, the virtio one with vhost alone is served by the kernel."""
    # A task of its own before Linux 6.4, a thread of QEMU since; `ps -eL` shows both.
    names = subprocess.check_output(["ps", "-eLo", "comm="], text=True).split()
    assert names.count(f"vhost-{guest.pid}") == 1


def test_balloon(guest: LinuxGuest) -> None:
    """The balloon reaches the target that QEMU sets, and gives the memory back."""
    for target in (128, 256):
        guest.qmp("balloon", value=target << 20)
        deadline = time.monotonic() + 60
        while (actual := guest.qmp("query-balloon")["actual"]) != target << 20:
            assert time.monotonic() < deadline, f"{actual >> 20} MiB instead of {target}"
            time.sleep(0.2)


def test_guest_agent_answers(guest: LinuxGuest) -> None:
    """qemu-ga runs in the guest."""
    assert _agent(guest, "guest-ping") == {"return": {}}
    answer = _agent(guest, "guest-get-time")
    assert isinstance(answer, dict)
    assert abs(answer["return"] / 1e9 - time.time()) < 60


def test_virtio_console(guest: LinuxGuest) -> None:
    """What the guest writes to hvc0 arrives."""
    guest.run("echo seventeen >/dev/hvc0")
    deadline = time.monotonic() + 10
    while (text := (guest.directory / "hvc0.log").read_text().split()) != ["seventeen"]:
        assert time.monotonic() < deadline, text
        time.sleep(0.1)


def test_pause_stops_every_exit(guest: LinuxGuest) -> None:
    """A paused guest makes no exit; a resumed one answers again."""
    guest.pause()
    try:
        before = kvm_statistics(guest.pid)["exits"]
        time.sleep(1)
        assert kvm_statistics(guest.pid)["exits"] == before
    finally:
        guest.resume()
    assert guest.run("echo here") == "here\n"
    assert kvm_statistics(guest.pid)["exits"] > before


def test_witness_equals_debugfs(guest: LinuxGuest) -> None:
    """The tracepoint's count of exits is KVM's own count, to the last one."""
    guest.pause()
    try:
        before = kvm_statistics(guest.pid)["exits"]
        with EventCount("kvm_exit", "common_pid", "exit_reason") as exits:
            guest.resume()
            guest.run("dd if=/dev/vda of=/dev/null bs=4096 count=1009 iflag=direct")
            guest.pause()
            after = kvm_statistics(guest.pid)["exits"]
        tids = guest.vcpu_tids
        assert len(tids) == guest.vcpus
        assert exits.total(tids) == after - before
        assert after - before > 1009
    finally:
        guest.resume()


def test_witness_wants_a_real_event() -> None:
    """A tracepoint that the kernel does not have is an error, not a zero."""
    with pytest.raises(WitnessError, match="no tracepoint"), EventCount("kvm_no_such", "vcpu_id"):
        pass


def test_migration(host: Host) -> None:
    """A running guest moves to another QEMU with its memory, its disk and its shell."""
    source = host.start(LinuxGuest("source", disks=(Disk("disk0"),), nics=(UserNic("net0"),)))
    source.run("echo kept in memory >/tmp/note")
    source.run("echo kept on disk | dd of=/dev/vda conv=fsync 2>/dev/null")
    target = host.start(source.twin("target"), incoming=True)
    source.migrate_to(target)
    source.kill()
    assert target.run("cat /tmp/note") == "kept in memory\n"
    assert target.run("echo 3 >/proc/sys/vm/drop_caches; head -n 1 /dev/vda") == "kept on disk\n"


def test_libvirt_domain(host: Host) -> None:
    """A domain that libvirt starts obeys, and its process is known."""
    libvirt = host.libvirt()
    domain = libvirt.start("lab-domain")
    assert libvirt.virsh("domstate", "lab-domain").strip() == "running"
    assert domain.run("echo here") == "here\n"
    assert kvm_statistics(domain.pid)["exits"] > 0
    assert libvirt.virsh("list", "--name").split() == ["lab-domain"]


def test_crash_leaves_nothing(host: Host) -> None:
    """A killed guest is gone from KVM, and its death is noticed at once."""
    guest = host.start(LinuxGuest("short-lived"), wait=False)
    pid = guest.pid
    assert kvm_statistics(pid)
    guest.kill()
    assert not guest.running
    with pytest.raises(WitnessError, match="has 0 VMs"):
        kvm_statistics(pid)
