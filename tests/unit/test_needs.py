# SPDX-License-Identifier: Apache-2.0
"""The checks of `doctor`, on trees made for them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kvmexporter import needs
from kvmexporter.addressing import VmAddressing
from kvmexporter.agents import GuestAgents
from kvmexporter.errors import Unavailable
from kvmexporter.inventory import Inventory
from kvmexporter.model.exits import UNANNOUNCED
from kvmexporter.model.libvirt_domain import LibvirtDomain
from kvmexporter.model.needs import Standing, Verdict
from kvmexporter.model.role import Role
from kvmexporter.model.vm import SEEING, UNSEEN
from kvmexporter.needs import Need, Place
from kvmexporter.sources.bpfprobes import BpfProbes, ProgramState
from kvmexporter.sources.qemu import QemuFacts
from kvmexporter.sources.sysfs import Sysfs
from kvmexporter.sources.system import System
from tests.unit.procfs_tree import ProcfsTree
from tests.unit.snapshots import vm
from tests.unit.sources.agent_server import AgentServer, agent
from tests.unit.test_agents import qemu as agent_qemu

OK, DEGRADED, MISSING = Standing
ALL = [one for one in vars(needs).values() if isinstance(one, Need)]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Nothing is there."""
    system = System(Role(False, False, "no sign"), Sysfs(tmp_path / "sys"), tmp_path / "dev")
    return Place(
        Unavailable("no bcc", "install it"), (), {}, system, tmp_path, ("/nowhere/python",)
    )


def write(place: Place, path: str, text: str) -> None:
    file = place.root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def attached(*reasons: str) -> BpfProbes:
    states = [ProgramState(f"p{i}", not reason, reason) for i, reason in enumerate(reasons)]
    return BpfProbes({}, states, {})


def test_names_are_unique() -> None:
    """A need is one line."""
    assert len({need.name for need in ALL}) == len(ALL) == 21


@pytest.mark.parametrize("need", ALL, ids=lambda need: need.name)
def test_a_place_where_nothing_is(need: Need, place: Place) -> None:
    """No check fails; each says what it saw."""
    verdict = need.check(place)
    assert verdict.seen
    fine = {"lockdown", "qmp", "adjtimex", "libvirt", "guest-agent"}
    assert (verdict.standing is OK) == (need.name in fine)


def test_which_process_tree(place: Place) -> None:
    """The host's first PID namespace has a fixed number."""
    link = place.root / "proc/self/ns/pid"
    link.parent.mkdir(parents=True)
    link.symlink_to("pid:[4026531836]")
    assert needs.PID_NAMESPACE.check(place).standing is OK
    link.unlink()
    link.symlink_to("pid:[4026532177]")
    assert needs.PID_NAMESPACE.check(place).standing is MISSING


@pytest.mark.parametrize(
    ("bits", "standing", "seen"),
    [
        ("000001ffffffffff", OK, "all that are ever needed"),
        ("000000c400080006", OK, "all but CAP_SYS_ADMIN, which few systems ask for"),
        ("000000c000080006", DEGRADED, "lacking: CAP_SYSLOG"),
        ("0000000000000000", DEGRADED, "lacking: CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, "
         "CAP_SYS_PTRACE, CAP_SYSLOG, CAP_PERFMON, CAP_BPF"),
    ],
)  # fmt: skip
def test_capabilities(bits: str, standing: Standing, seen: str, place: Place) -> None:
    """By the effective set, each by its name."""
    write(place, "proc/self/status", f"Name:\tx\nCapEff:\t{bits}\n")
    verdict = needs.CAPABILITIES.check(place)
    assert (verdict.standing, verdict.seen) == (standing, seen)


@pytest.mark.parametrize(
    ("level", "bits", "standing"),
    [("2", "0", OK), ("4", "0", DEGRADED), ("4", "200000", OK), ("-1", "0", OK)],
)
def test_perf_events(level: str, bits: str, standing: Standing, place: Place) -> None:
    """Closed to all but CAP_SYS_ADMIN where the distribution's kernel is."""
    write(place, "proc/sys/kernel/perf_event_paranoid", f"{level}\n")
    write(place, "proc/self/status", f"CapEff:\t{bits}\n")
    assert needs.PERF_EVENTS.check(place).standing is standing


@pytest.mark.parametrize(
    ("text", "standing"),
    [
        ("[none] integrity confidentiality", OK),
        ("none [integrity] confidentiality", OK),
        ("none integrity [confidentiality]", DEGRADED),
    ],
)
def test_lockdown(text: str, standing: Standing, place: Place) -> None:
    """Only the strictest closes anything that is used."""
    write(place, "sys/kernel/security/lockdown", text)
    assert needs.LOCKDOWN.check(place).standing is standing


@pytest.mark.parametrize(
    "path",
    ["lib/modules/6.1/build", "usr/src/linux-headers-6.1", "usr/src/kernels/6.1"],
)
def test_headers(path: str, place: Place) -> None:
    """Wherever a distribution puts them; elsewhere if that was asked for."""
    write(place, f"{path}/include/generated/autoconf.h", "")
    assert needs.HEADERS.check(place).standing is OK
    elsewhere = replace(place, headers=str(place.root / "elsewhere"))
    assert needs.HEADERS.check(elsewhere).standing is MISSING
    named = replace(place, headers=str(place.root / path), root=place.root / "empty")
    assert needs.HEADERS.check(named).standing is OK


def test_bcc_is_tried(tmp_path: Path, place: Place) -> None:
    """In each interpreter, for real; a module that only has its name is not it."""
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_text("#!/bin/sh\necho 0.26.0\n")
    bad.write_text("#!/bin/sh\necho \"AttributeError: no 'BPF'\" >&2\nexit 1\n")
    for one in (good, bad):
        one.chmod(0o755)
    verdict = needs.BCC.check(replace(place, pythons=("/nowhere", str(bad), str(good))))
    assert (verdict.standing, verdict.seen) == (OK, f"0.26.0 in {good}")
    verdict = needs.BCC.check(replace(place, pythons=("/nowhere", str(bad))))
    assert verdict.standing is MISSING
    assert "AttributeError: no 'BPF'" in verdict.seen


def test_bpf_and_its_tracepoints(place: Place) -> None:
    """What the loader said, and which probe is not attached and why."""
    assert needs.BPF.check(place).seen == "no bcc"
    assert needs.BPF.check(place).remedy == "install it"
    some = replace(place, probes=attached("", "no such event", ""))
    assert needs.BPF.check(some).seen == "2 programs attached"
    verdict = needs.TRACEPOINTS.check(some)
    assert (verdict.standing, verdict.seen) == (DEGRADED, "p1: no such event")
    assert needs.TRACEPOINTS.check(replace(place, probes=attached("", ""))) == Verdict(OK, "all")


def test_tracepoints_of_a_kvm_that_announces_no_exits(place: Place) -> None:
    """It is said, unless nobody listens to the tracepoint."""
    here = replace(place, unannounced=True)
    every = replace(here, probes=attached("", ""))
    assert needs.TRACEPOINTS.check(every) == Verdict(OK, f"all; {UNANNOUNCED}")
    some = needs.TRACEPOINTS.check(replace(here, probes=attached("no such event", "")))
    assert some == Verdict(DEGRADED, f"p0: no such event; {UNANNOUNCED}")
    deaf = BpfProbes({}, [ProgramState("kvm_exit", False, "no such event")], {})
    verdict = needs.TRACEPOINTS.check(replace(here, probes=deaf))
    assert verdict == Verdict(DEGRADED, "kvm_exit: no such event")


@pytest.mark.parametrize(
    ("need", "path"),
    [
        (needs.KVM, "dev/kvm"),
        (needs.KVM, "sys/module/kvm/x"),
        (needs.TRACEFS, "sys/kernel/tracing/events/x"),
        (needs.TRACEFS, "sys/kernel/debug/tracing/events/x"),
        (needs.DEBUGFS, "sys/kernel/debug/kvm/exits"),
        (needs.KERNEL_LOG, "dev/kmsg"),
    ],
)
def test_what_has_to_be_there(need: Need, path: str, place: Place) -> None:
    """And is."""
    assert need.check(place).standing is not OK
    write(place, path, "")
    assert need.check(place).standing is OK


def test_schedstat(place: Place) -> None:
    """Zeros are a kernel that keeps no account."""
    write(place, "proc/self/schedstat", "0 0 0\n")
    assert needs.SCHEDSTAT.check(place).standing is MISSING
    write(place, "proc/self/schedstat", "5 0 1\n")
    assert needs.SCHEDSTAT.check(place).standing is OK


def test_monitors(place: Place) -> None:
    """How many VMs answer, and why some do not."""
    answers, fails, waits, has_none = (vm(f"vm{i}", i + 1) for i in range(4))
    waits = replace(waits, qmp_sockets=("/x",))
    known = {
        answers.id: VmAddressing((), (), QemuFacts("7.2.0", (), ()), 1.0, ""),
        fails.id: VmAddressing((), (), None, None, "/x: permission denied"),
    }
    verdict = needs.QMP.check(
        replace(place, vms=(answers, fails, waits, has_none), addressing=known)
    )
    assert verdict.standing is DEGRADED
    assert verdict.seen == (
        "1 of 4 VMs: vm1: /x: permission denied; vm2: has not answered yet; "
        "vm3: no QMP socket for us"
    )
    alone = replace(place, vms=(answers,), addressing=known)
    assert needs.QMP.check(alone) == Verdict(OK, "1 VM answers")


def test_vms_that_cannot_be_seen(place: Place) -> None:
    """Are not said to be not there."""
    assert needs.QMP.check(place) == Verdict(OK, "no VM runs that could be asked")
    blind = replace(place, sees_all_vms=False)
    assert needs.QMP.check(blind) == Verdict(DEGRADED, UNSEEN, SEEING)
    assert needs.LIBVIRT.check(blind) == Verdict(OK, "runs no VM that can be seen")
    # Of a user namespace, it counts for nothing outside.
    write(place, "proc/self/status", "CapEff:\t000001ffffffffff\n")
    assert needs.CAPABILITIES.check(place).standing is OK
    assert needs.CAPABILITIES.check(blind).standing is DEGRADED


def test_a_debugfs_that_shows_names_alone(place: Place) -> None:
    """Is of no use."""
    (place.root / "sys/kernel/debug/kvm/exits").mkdir(parents=True)  # not to be read by root either
    verdict = needs.DEBUGFS.check(place)
    assert (verdict.standing, verdict.seen) == (DEGRADED, "/sys/kernel/debug/kvm: Is a directory")


def test_a_debugfs_that_nobody_needs(place: Place) -> None:
    """Where every VMM tells KVM's counters, its absence costs nothing."""
    tells, silent = vm("vm0", 1), vm("vm1", 2)
    facts = QemuFacts("7.2.0", (), (), stats={"pf_taken": 7})
    known = {tells.id: VmAddressing((), (), facts, 1.0, "")}
    verdict = needs.DEBUGFS.check(replace(place, vms=(tells,), addressing=known))
    assert (verdict.standing, "not needed" in verdict.seen) == (OK, True)
    both = needs.DEBUGFS.check(replace(place, vms=(tells, silent), addressing=known))
    assert both.standing is DEGRADED


def test_libvirt(place: Place) -> None:
    """Whose VMs are its own, whether what it says of them is seen, and whether it is asked."""
    domain = LibvirtDomain("web", "u-u", 1)
    seen, unseen, plain = (vm(f"vm{i}", i + 1) for i in range(3))
    for one, words in (
        (seen, "-object\0/var/lib/libvirt/qemu/domain-1-web/master-key.aes"),
        (unseen, "-object\0/var/lib/libvirt/qemu/domain-2-db/master-key.aes"),
        (plain, "-drive\0file=/var/lib/libvirt/images/disk.qcow2"),
    ):
        write(place, f"proc/{one.id.pid}/cmdline", f"/usr/bin/qemu-system-x86_64\0{words}\0")
    seen = replace(seen, libvirt=domain)
    here = replace(place, vms=(seen, unseen, plain))
    verdict = needs.LIBVIRT.check(here)
    assert (verdict.standing, verdict.seen) == (
        DEGRADED, "runs 2 VMs; what it says of vm1 is not seen",
    )  # fmt: skip
    here = replace(place, vms=(seen, plain), path=str(place.root))
    assert needs.LIBVIRT.check(here) == Verdict(
        OK, "runs 1 VM, and is not asked: --libvirt.monitor is off"
    )
    asked = replace(here, libvirt_monitor=True)
    assert needs.LIBVIRT.check(asked).standing is MISSING
    write(place, "virsh", "")
    (place.root / "virsh").chmod(0o755)
    assert needs.LIBVIRT.check(asked) == Verdict(OK, "runs 1 VM, and is asked for their devices")
    assert needs.LIBVIRT.check(replace(here, vms=(plain,))).seen == "runs no VM here"


def test_guest_agents(place: Place, tree: ProcfsTree) -> None:
    """How many answer, and why some do not; nothing is missing if nobody wants to know."""
    for pid, socket in ((10, "/run/answers"), (11, "/run/nobody")):
        tree.process(pid, agent_qemu(socket))
        (tree.root / str(pid) / "root/run").mkdir(parents=True)
    tree.process(12, ["/usr/bin/qemu-system-x86_64"])
    inventory = Inventory(tree.procfs)
    inventory.refresh()
    answers, fails, has_none = inventory.vms()
    agents = GuestAgents(inventory, tree.root)
    here = replace(place, agents=agents)
    assert needs.GUEST_AGENT.check(replace(here, vms=(answers,))) == Verdict(
        DEGRADED, "silent: 1 of 1: pid-10: has not answered yet"
    )
    with AgentServer(tree.root / "10/root/run/answers", agent()):
        agents.start()
        agents.settle(20)
    agents.close()
    verdict = needs.GUEST_AGENT.check(replace(here, vms=(answers, fails, has_none)))
    assert verdict.standing is DEGRADED
    assert verdict.seen.startswith("silent: 1 of 2: pid-11: ")
    assert verdict.seen.endswith("No such file or directory")
    assert needs.GUEST_AGENT.check(replace(here, vms=(answers, has_none))).seen == "1 agent answers"
    assert needs.GUEST_AGENT.check(replace(here, vms=(has_none,))) == Verdict(
        DEGRADED, "1 VM, none with an agent's socket for us"
    )
    assert needs.GUEST_AGENT.check(place).seen == "not asked: --guest-agent is off"


@pytest.mark.parametrize(
    ("host", "current", "standing"),
    [(True, "tsc", OK), (True, "kvm-clock", DEGRADED), (False, "kvm-clock", OK),
     (False, "hpet", DEGRADED)],
)  # fmt: skip
def test_clocksource(host: bool, current: str, standing: Standing, place: Place) -> None:
    """A host's has to be the TSC, a guest's may be the host's."""
    base = "sys/devices/system/clocksource/clocksource0"
    write(place, f"{base}/current_clocksource", current)
    write(place, f"{base}/available_clocksource", "tsc hpet kvm-clock")
    system = replace(place.system, role=Role(host, not host, "test"))
    here = replace(place, system=system)
    assert needs.STABLE_CLOCKSOURCE.check(here).standing is standing
    assert (needs.HOST_ROLE.check(here).standing is OK) == host
    assert (needs.GUEST_ROLE.check(here).standing is OK) != host


def test_a_ptp_clock_that_may_not_be_opened(place: Place) -> None:
    """Is there, and of no use."""

    def refuse(_: Path) -> None:
        raise Unavailable("/dev/ptp0: Permission denied", "start as root")

    write(place, "sys/class/ptp/ptp0/clock_name", "KVM virtual PTP")
    opened: Callable[[Path], None] = refuse
    system = replace(place.system, open_ptp=opened)  # type: ignore[arg-type] # never returns
    verdict = needs.PTP_CLOCK.check(replace(place, system=system))
    assert (verdict.standing, verdict.seen) == (MISSING, "/dev/ptp0: Permission denied")
