# SPDX-License-Identifier: Apache-2.0
"""The bare-metal guest makes exactly the events that tests/guest/README.md promises.

The referee is the kernel's own trace (tests/guest/kernel_trace.py), which shares nothing with the
exporter's BPF programs.
"""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.guest import E1000, VIRTIO_BLK, VIRTIO_NET, BareMetalGuest, GuestError
from tests.guest.kernel_trace import recording
from tests.guest.requirements import require_kernel_trace, require_kvm, require_qemu

IO = "kvm_userspace_exit KVM_EXIT_IO"
MMIO = "kvm_userspace_exit KVM_EXIT_MMIO"
RESTART = "kvm_userspace_exit restart"  # a signal to the vCPU thread; nothing the guest did

# operation → event key per operation; the count is a prime of its own
EXACT = [
    ("serial_write", 97, ["kvm_pio write 0x3ff 1", IO]),
    ("serial_read", 89, ["kvm_pio read 0x3ff 1", IO]),
    # The index port's writes are collected by KVM ("coalesced") until the data port exits.
    ("rtc_read", 83, ["kvm_pio write 0x70 1", "kvm_pio read 0x71 1", IO]),
    ("rtc_write", 79, ["kvm_pio write 0x70 1", "kvm_pio write 0x71 1", IO]),
    ("pmtimer_read", 73, ["kvm_pio read 0x608 4", IO]),
    ("pit_write", 71, ["kvm_pio write 0x42 1"]),
    ("pit_read", 67, ["kvm_pio read 0x42 1"]),
    ("pic_write", 61, ["kvm_pio write 0x21 1"]),
    ("pic_read", 59, ["kvm_pio read 0x21 1"]),
    (
        "hpet_read",
        53,
        ["kvm_mmio unsatisfied-read 0xfed00000 4", "kvm_mmio read 0xfed00000 4", MMIO],
    ),
    ("hpet_write", 47, ["kvm_mmio write 0xfed00020 4", MMIO]),
    ("ioapic_read", 43, ["kvm_mmio read 0xfec00010 4"]),
    ("ioapic_write", 41, ["kvm_mmio write 0xfec00000 4"]),
    ("msr_read", 37, ["kvm_msr read 0x8b"]),
    ("msr_write", 31, ["kvm_msr write 0x8b"]),
    ("tsc_deadline", 29, ["kvm_msr write 0x6e0"]),
    ("timer", 23, ["kvm_msr write 0x6e0", "kvm_mmio write 0xfee000b0 4"]),
    ("hlt", 19, ["kvm_pio write 0x40 1"]),
    ("cpuid", 17, ["kvm_cpuid"]),
    ("spin_ms", 13, []),
]


@pytest.fixture(scope="module")
def guest() -> Iterator[BareMetalGuest]:
    """One guest for the whole module: its firmware takes seconds."""
    require_kvm()
    require_kernel_trace()
    devices = (*E1000, *VIRTIO_BLK, *VIRTIO_NET)
    with BareMetalGuest("bare-metal-test", devices=devices) as machine:
        machine.wait_ready()
        yield machine


def events_of(guest: BareMetalGuest, command: str) -> Counter[str]:
    """Event key → how many the vCPU made while it ran `command`."""
    with recording(guest.vcpu_tids) as trace:
        guest.run_text(command)
    counts = trace.counts()
    counts.pop(RESTART, None)
    return counts


@pytest.mark.parametrize(("operation", "count", "per_operation"), EXACT, ids=[e[0] for e in EXACT])
def test_events_are_exact(
    guest: BareMetalGuest, operation: str, count: int, per_operation: list[str]
) -> None:
    """Each operation makes its events, each as often as asked, and no other event."""
    expected = {event: count * n for event, n in Counter(per_operation).items()}
    assert events_of(guest, f"{operation}={count}") == expected


def test_commands_run_once(guest: BareMetalGuest) -> None:
    """No command is lost or done twice, however many follow each other."""
    with recording(guest.vcpu_tids) as trace:
        for _ in range(211):
            guest.run(pic_read=3)
    assert trace.counts() == {"kvm_pio read 0x21 1": 633}


def test_order_and_repetition(guest: BareMetalGuest) -> None:
    """Operations are done in the order given, and names may repeat."""
    with recording(guest.vcpu_tids, ["kvm_pio", "kvm_msr"]) as trace:
        result = guest.run_text("pic_read=2 msr_read=1 pic_read=3")
    assert result.counts == (2, 1, 3)
    pic, msr = "kvm_pio read 0x21 1", "kvm_msr read 0x8b"
    assert [event.key for event in trace.events] == [pic, pic, msr, pic, pic, pic]


def test_waiting_makes_no_events(guest: BareMetalGuest) -> None:
    """A guest that waits for a command causes nothing that is counted."""
    with recording(guest.vcpu_tids) as trace:
        time.sleep(1.0)
    assert Counter(event.key for event in trace.events if event.key != RESTART) == {}


def test_e1000(guest: BareMetalGuest) -> None:
    """Register reads and writes go to QEMU, one exit each."""
    counts = events_of(guest, "e1000_read=11 e1000_write=7")
    assert counts.pop(MMIO) == 18
    assert sorted((key.split()[1], n) for key, n in counts.items()) == [
        ("read", 11),
        ("unsatisfied-read", 11),
        ("write", 7),
    ]
    assert len({key.split()[2][:-2] for key in counts}) == 1  # all in one page of one BAR


def test_e1000_coalesced_writes(guest: BareMetalGuest) -> None:
    """KVM collects these writes and exits only with the one that finds its ring full."""
    guest.run(e1000_write=1)  # any exit empties the ring
    counts = events_of(guest, "e1000_write_coalesced=503")
    # The ring holds 169; older kernels reckon it full at 85 when it does not wrap.
    assert 503 // 170 <= counts.pop(MMIO) <= 503 // 86
    assert sum(counts.values()) == 503
    assert all(key.startswith("kvm_mmio write ") for key in counts)


@pytest.mark.parametrize(("queue", "device"), [(0, 0), (0, 1), (1, 1)])
def test_virtio_kick(guest: BareMetalGuest, queue: int, device: int) -> None:
    """A kick goes to userspace before DRIVER_OK and to an ioeventfd in the kernel after it."""
    kick = f"virtio_notify=101:{queue}:{device}"
    guest.run_text(f"virtio_reset=1:{device}")
    counts = events_of(guest, kick)
    assert counts.pop(MMIO) == 101
    ((key, written),) = counts.items()
    assert (key.split()[1], key.split()[3], written) == ("write", "2", 101)
    gpa = key.split()[2]

    guest.run_text(f"virtio_init=1:{device}")
    counts = events_of(guest, kick)
    # Which of the two depends on the CPU: with EPT, KVM need not decode the instruction.
    assert counts in ({key: 101}, {f"kvm_fast_mmio {gpa}": 101})
    assert int(gpa, 16) & 0xFFF == queue * 4


def test_port_sweep(guest: BareMetalGuest) -> None:
    """Each port is read once; firmware and reset ports are left out; the VM survives."""
    counts = events_of(guest, "port_sweep=1009")
    userspace = counts.pop(IO)
    reads = {int(key.split()[2], 16): n for key, n in counts.items()}
    left_out = {0x60, 0x62, 0x63, 0x64, 0x92, 0xB2, 0xB3, *range(0x600, 0x640)}
    assert reads == dict.fromkeys([p for p in range(1009 + 7) if p not in left_out], 1)
    in_kernel = {0x20, 0x21, 0xA0, 0xA1, 0x40, 0x41, 0x42, 0x43}
    assert userspace == 1009 - len(in_kernel & set(reads))
    assert guest.qmp("query-status")["status"] == "running"


def test_mmio_random(guest: BareMetalGuest) -> None:
    """Reads of unmapped pages all go to userspace, outside RAM and known devices."""
    counts = events_of(guest, "mmio_random=307")
    assert counts.pop(MMIO) == 307
    kinds: Counter[str] = Counter()
    for key, n in counts.items():
        _, kind, gpa, size = key.split()
        kinds[kind] += n
        assert 0x10000000 <= int(gpa, 16) < 0xFEC00000
        assert size == "4"
    assert kinds == {"unsatisfied-read": 307, "read": 307}
    assert len(counts) > 500  # many pages, each in two keys


def test_errors_are_told(guest: BareMetalGuest) -> None:
    """What the guest cannot do is refused whole, in a sentence, and the guest lives on."""
    refused = {
        "serial_write=2 bogus=3": "unknown operation: bogus",
        "serial_write=2 serial_read=two": "not a number: two",
        "virtio_notify=1:0:7": "no virtio 1.0 PCI device of this number",
        "virtio_notify=1:3:0": "no queue of this number",
    }
    for command, sentence in refused.items():
        with recording(guest.vcpu_tids) as trace, pytest.raises(GuestError, match=sentence):
            guest.run_text(command)
        assert trace.counts() == {}, command
    assert guest.run(serial_write=3).counts == (3,)


def test_pause_and_resume(guest: BareMetalGuest) -> None:
    """A paused guest takes no command until it is resumed."""
    guest.pause()
    with pytest.raises(GuestError, match="did not finish"):
        guest.run_text("pic_read=5", timeout=0.3)
    with recording(guest.vcpu_tids) as trace:
        guest.resume()
        time.sleep(0.5)
    assert trace.counts()["kvm_pio read 0x21 1"] == 5


def test_command_line_once() -> None:
    """Operations of the command line are done once; then the guest halts for good."""
    require_kvm()
    with BareMetalGuest("once", command_line="serial_write=7 pit_read=5") as machine:
        assert machine.wait_halted().counts == (7, 5)


def test_endless() -> None:
    """Endless mode repeats what follows `then`, at its pace, and leaves the core free."""
    require_kvm()
    require_kernel_trace()
    line = "endless pace_us=20000 serial_read=1 then serial_write=3"
    with BareMetalGuest("endless", command_line=line) as machine:
        machine.wait_ready()
        tids = machine.vcpu_tids
        used = _cpu_seconds(machine.pid)
        rounds = machine.rounds
        with recording(tids, ["kvm_pio"]) as trace:
            time.sleep(2.0)
        rounds = machine.rounds - rounds
        used = _cpu_seconds(machine.pid) - used
    writes = trace.counts()["kvm_pio write 0x3ff 1"]
    assert trace.counts()["kvm_pio read 0x3ff 1"] <= 1
    assert 20 <= rounds <= 110
    assert rounds - writes // 3 in range(-1, 9)  # recording starts late
    assert used < 1.0


def test_without_kvm() -> None:
    """The same program runs without KVM."""
    require_qemu()
    with BareMetalGuest("software", accel="tcg", devices=E1000) as machine:
        machine.wait_ready()
        result = machine.run(serial_write=3, hpet_read=5, e1000_read=7, msr_read=2, hlt=2)
    assert result.counts == (3, 5, 7, 2, 2)


@pytest.mark.parametrize("machine_type", ["pc", "q35"])
def test_machine_types(machine_type: str) -> None:
    """Power management timer and devices are found on both of QEMU's PC machines."""
    require_qemu()
    with BareMetalGuest("m", accel="tcg", machine=machine_type, devices=VIRTIO_NET) as machine:
        machine.wait_ready()
        result = machine.run(pmtimer_read=3, virtio_init=1, virtio_notify=5, mmio_random=7)
    assert result.counts == (3, 1, 5, 7)


def test_nothing_is_left_behind() -> None:
    """stop(), kill() and a start that fails leave neither process nor file."""
    require_qemu()
    machine = BareMetalGuest("short", accel="tcg")
    for end in (machine.stop, machine.kill):
        machine.start()
        pid, directory = machine.pid, machine.qmp_path.parent
        assert directory.is_dir()
        end()
        end()
        assert not directory.exists()
        assert not Path(f"/proc/{pid}").exists()
    before = _directories()
    with pytest.raises(GuestError, match="no-such-device"):
        BareMetalGuest("bad", accel="tcg", devices=("-device", "no-such-device")).start()
    with pytest.raises(GuestError, match="not installed"):
        BareMetalGuest("bad", accel="tcg", qemu="no-such-qemu").start()
    assert _directories() <= before


def test_a_killed_launcher_leaves_nothing() -> None:
    """When the launching process is killed outright, its guest and directory go as well."""
    require_qemu()
    program = (
        "import time; from tests.guest import BareMetalGuest; g = BareMetalGuest('x', accel='tcg');"
        "g.start(); print(g.pid, g.qmp_path, flush=True); time.sleep(60)"
    )
    root = Path(__file__).parents[2]
    launcher = subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert launcher.stdout is not None
    with launcher.stdout:
        pid, qmp = launcher.stdout.readline().split()
    assert Path(qmp).exists()
    launcher.kill()
    launcher.wait()
    assert _gone(int(pid), Path(qmp).parent)


def test_demo_ends_cleanly() -> None:
    """The demo runs its mix without an error until SIGTERM, then ends its VM."""
    require_kvm()
    root = Path(__file__).parents[2]
    demo = subprocess.Popen(
        [sys.executable, "-m", "tests.guest.demo", "--name", "demo-test"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
    )
    assert demo.stdout is not None
    with demo.stdout:
        words = demo.stdout.readline().split()
        pid, qmp = int(words[3].rstrip(",")), Path(words[5])
        assert demo.stdout.readline() == "its first round is done\n"
    demo.send_signal(signal.SIGTERM)
    assert demo.wait(15) == 0
    assert _gone(pid, qmp.parent)


def _gone(pid: int, directory: Path) -> bool:
    """Whether process and directory vanish within some seconds (a zombie counts as gone)."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            state = "X"
        if state in "ZX" and not directory.exists():
            return True
        time.sleep(0.05)
    return False


def _directories() -> set[Path]:
    return set(Path("/tmp").glob("kvmexporter-guest-*"))


def _cpu_seconds(pid: int) -> float:
    """User and system time of a process, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
