# SPDX-License-Identifier: Apache-2.0
"""What collectors need of a system, each defined here once, with the check that tells.

A collector names what it cannot do without (`needs`) and what it does worse without
(`wants`). `doctor` checks each once, by trying what the collectors will do.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kvmexporter.addressing import VmAddressing
from kvmexporter.agents import GuestAgents
from kvmexporter.errors import Unavailable
from kvmexporter.model.amounts import amount
from kvmexporter.model.exits import EXIT_EVENT, UNANNOUNCED
from kvmexporter.model.needs import Standing, Verdict
from kvmexporter.model.vm import SEEING, UNSEEN, Vm, VmId
from kvmexporter.sources.bpfprobes import BpfProbes
from kvmexporter.sources.kernellog import KernelLog
from kvmexporter.sources.system import System

# include/linux/proc_ns.h: PROC_PID_INIT_INO.
_HOST_PID_NAMESPACE = "pid:[4026531836]"
# include/uapi/linux/capability.h.
_CAPABILITIES = {
    "CAP_DAC_OVERRIDE": 1, "CAP_DAC_READ_SEARCH": 2, "CAP_SYS_PTRACE": 19, "CAP_SYS_ADMIN": 21,
    "CAP_SYSLOG": 34, "CAP_PERFMON": 38, "CAP_BPF": 39,
}  # fmt: skip
_OPTIONAL_CAPABILITY = "CAP_SYS_ADMIN"
_MOST_OPEN_PARANOID = 2
_IMPORT_SECONDS = 30.0
_MOST_NAMED = 3
_KVM_CLOCK = "KVM virtual PTP"
# Where libvirt keeps what its QEMUs need; images, which others use as well, are elsewhere.
_LIBVIRT_FILES = "/libvirt/qemu/"


@dataclass(frozen=True, slots=True)
class Place:
    """What the checks look at.

    Attributes:
        probes: the attached BPF programs, or why there are none.
        vms: the VMs that run.
        addressing: what their VMMs have said.
        system: clocks and role.
        root: of /proc, /sys and the like.
        pythons: interpreters that may have bcc.
        headers: the kernel headers that were asked for, None: any.
        agents: who asks the guests' agents; None if nobody is to.
        libvirt_monitor: whether libvirt is asked about its VMs' devices.
        path: where programs are looked for, None: as everywhere.
        sees_all_vms: whether no VM can have been missed.
        unannounced: whether VMs' exits were seen by their accesses alone.
    """

    probes: BpfProbes | Unavailable
    vms: tuple[Vm, ...]
    addressing: Mapping[VmId, VmAddressing]
    system: System
    root: Path = Path("/")
    pythons: tuple[str, ...] = (sys.executable, "/usr/bin/python3")
    headers: str | None = None
    agents: GuestAgents | None = None
    libvirt_monitor: bool = False
    path: str | None = None
    sees_all_vms: bool = True
    unannounced: bool = False

    def text(self, path: str) -> str | None:
        """A small file, None if it cannot be read."""
        try:
            return (self.root / path).read_text(errors="replace").strip()
        except OSError:
            return None


@dataclass(frozen=True, slots=True)
class Need:
    """Something that collectors need.

    Attributes:
        name: also of its remedies.
        check: tells how it stands.
    """

    name: str
    check: Callable[[Place], Verdict]


def _ok(seen: str) -> Verdict:
    return Verdict(Standing.OK, seen)


def _degraded(seen: str, remedy: str = "") -> Verdict:
    return Verdict(Standing.DEGRADED, seen, remedy)


_UNSEEN = _degraded(UNSEEN, SEEING)


def _missing(seen: str, remedy: str = "") -> Verdict:
    return Verdict(Standing.MISSING, seen, remedy)


def _kvm(place: Place) -> Verdict:
    if (place.root / "dev/kvm").exists():
        return _ok("/dev/kvm is there")
    if (place.root / "sys/module/kvm").exists():
        return _ok("the module kvm is loaded")
    if place.vms:
        return _ok(amount(len(place.vms), "VM", "run"))
    return _missing("no /dev/kvm, no module kvm")


def _pid_namespace(place: Place) -> Verdict:
    try:
        own = str((place.root / "proc/self/ns/pid").readlink())
    except OSError as err:
        return _degraded(f"cannot be told: {err.strerror}")
    if own == _HOST_PID_NAMESPACE:
        return _ok("the host's")
    return _missing("a container's: the processes of the host's VMs are not seen")


def _capabilities(place: Place) -> Verdict:
    held = held_capabilities(place)
    lacking = [name for name in _CAPABILITIES if name not in held]
    vital = [name for name in lacking if name != _OPTIONAL_CAPABILITY]
    if vital:
        return _degraded(f"lacking: {', '.join(vital)}")
    if not place.sees_all_vms:
        return _degraded("all that are needed, and they do not reach all processes")
    if lacking:
        return _ok(f"all but {_OPTIONAL_CAPABILITY}, which few systems ask for")
    return _ok("all that are ever needed")


def held_capabilities(place: Place) -> frozenset[str]:
    """Those of the capabilities that matter which this process has."""
    for line in (place.text("proc/self/status") or "").splitlines():
        if line.startswith("CapEff:"):
            bits = int(line.split()[1], 16)
            return frozenset(name for name, bit in _CAPABILITIES.items() if bits >> bit & 1)
    return frozenset()


def _bcc(place: Place) -> Verdict:
    seen = []
    for python in dict.fromkeys(place.pythons):
        try:
            done = subprocess.run(  # noqa: S603 - the user's own interpreters
                [python, "-E", "-s", "-c", "import bcc; bcc.BPF; print(bcc.__version__)"],
                capture_output=True, text=True, timeout=_IMPORT_SECONDS, check=False,
                stdin=subprocess.DEVNULL,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as err:
            seen.append(f"{python}: {err}")
            continue
        if done.returncode == 0:
            return _ok(f"{done.stdout.strip()} in {python}")
        seen.append(f"{python}: {done.stderr.strip().rpartition(chr(10))[2] or 'it failed'}")
    return _missing("; ".join(seen))


def _headers(place: Place) -> Verdict:
    if place.headers:
        places = [Path(place.headers)]
    else:
        places = [
            *(place.root / "lib/modules").glob("*/build"),
            *(place.root / "usr/src").glob("linux-headers-*"),
            *(place.root / "usr/src/kernels").glob("*"),
        ]
    for one in sorted(places, reverse=True):
        if (one / "include/generated/autoconf.h").exists():
            return _ok(f"{one}; any version serves")
    return _missing(f"none in {place.headers or '/lib/modules, /usr/src'}")


def _tracefs(place: Place) -> Verdict:
    for path in ("sys/kernel/tracing", "sys/kernel/debug/tracing"):
        try:
            os.scandir(place.root / path / "events").close()
        except PermissionError:
            return _missing(f"/{path} may not be read", "grant CAP_DAC_READ_SEARCH, or run as root")
        except OSError:
            continue
        return _ok(f"/{path}")
    return _missing("not mounted")


def _perf_events(place: Place) -> Verdict:
    text = place.text("proc/sys/kernel/perf_event_paranoid")
    if text is None:
        return _degraded("kernel.perf_event_paranoid cannot be read")
    if int(text) <= _MOST_OPEN_PARANOID or "CAP_SYS_ADMIN" in held_capabilities(place):
        return _ok(f"kernel.perf_event_paranoid is {text}")
    return _degraded(f"kernel.perf_event_paranoid is {text}: exits by reason take CAP_SYS_ADMIN")


def _lockdown(place: Place) -> Verdict:
    text = place.text("sys/kernel/security/lockdown")
    if text is None:
        return _ok("the kernel does not tell of any")
    mode = text.partition("[")[2].partition("]")[0]
    if mode == "confidentiality":
        return _degraded("confidentiality: debugfs and some of BPF are closed even to root")
    return _ok(mode or text)


def _bpf(place: Place) -> Verdict:
    if isinstance(place.probes, Unavailable):
        return _missing(place.probes.reason, place.probes.remedy)
    return _ok(f"{sum(one.attached for one in place.probes.programs)} programs attached")


def _tracepoints(place: Place) -> Verdict:
    if isinstance(place.probes, Unavailable):
        return _missing("none: no BPF")
    lacking = [one for one in place.probes.programs if not one.attached]
    seen = [f"{one.event}: {one.reason}" for one in lacking]
    # Where kvm_exit is not even listened to, that is why.
    if place.unannounced and not place.probes.lacks(EXIT_EVENT):
        seen.append(UNANNOUNCED)
    if not lacking:
        return _ok("; ".join(["all", *seen]))
    return _degraded("; ".join(seen))


def _debugfs(place: Place) -> Verdict:
    directory = place.root / "sys/kernel/debug/kvm"
    try:
        names = {path.name for path in directory.iterdir()}
        if "exits" in names:  # a kernel that is locked down shows names alone
            (directory / "exits").read_text()
    except OSError as err:
        seen = f"/sys/kernel/debug/kvm: {err.strerror}"
        if place.vms and all(_tells_counters(place.addressing.get(vm.id)) for vm in place.vms):
            return _ok(f"{seen}; not needed, every VMM tells KVM's counters")
        return _degraded(seen)
    return _ok("/sys/kernel/debug/kvm")


def _tells_counters(known: VmAddressing | None) -> bool:
    return bool(known and known.facts and (known.facts.stats or known.facts.vcpu_stats))


def _libvirt(place: Place) -> Verdict:
    theirs = [vm for vm in place.vms if vm.libvirt or _LIBVIRT_FILES in _command_line(place, vm)]
    unseen = [vm.name for vm in theirs if not vm.libvirt]
    if unseen:
        vms = amount(len(theirs), "VM")
        return _degraded(f"runs {vms}; what it says of {_some(unseen)} is not seen")
    asked = place.libvirt_monitor
    if asked and shutil.which("virsh", path=place.path) is None:
        return _missing("--libvirt.monitor takes virsh, which is not installed")
    if not theirs:
        return _ok("runs no VM here" if place.sees_all_vms else "runs no VM that can be seen")
    how = "is asked for their devices" if asked else "is not asked: --libvirt.monitor is off"
    return _ok(f"runs {amount(len(theirs), 'VM')}, and {how}")


def _command_line(place: Place, vm: Vm) -> str:
    return place.text(f"proc/{vm.id.pid}/cmdline") or ""


def _some(names: list[str]) -> str:
    """The first few of them."""
    more = f"; and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return f"{'; '.join(names[:_MOST_NAMED])}{more}"


def _guest_agent(place: Place) -> Verdict:
    if place.agents is None:
        return _ok("not asked: --guest-agent is off")
    with_agent = [vm for vm in place.vms if vm.agent_socket]
    if not with_agent:
        vms = amount(len(place.vms), "VM")
        return _degraded(f"{vms}, none with an agent's socket for us")
    times, troubles = place.agents.times(), place.agents.troubles()
    silent = [
        f"{vm.name}: {troubles.get(vm.id, 'has not answered yet')}"
        for vm in with_agent
        if vm.id not in times
    ]
    if silent:
        return _degraded(f"silent: {len(silent)} of {len(with_agent)}: {_some(silent)}")
    return _ok(amount(len(with_agent), "agent", "answer"))


def _qmp(place: Place) -> Verdict:
    if not place.vms:
        return _ok("no VM runs that could be asked") if place.sees_all_vms else _UNSEEN
    told, silent = 0, []
    for vm in place.vms:
        known = place.addressing.get(vm.id)
        if known and known.facts and not known.trouble:
            told += 1
        elif known and known.trouble:
            silent.append(f"{vm.name}: {known.trouble}")
        elif vm.qmp_sockets:
            silent.append(f"{vm.name}: has not answered yet")
        else:
            silent.append(f"{vm.name}: no QMP socket for us")
    if not silent:
        return _ok(amount(told, "VM", "answer"))
    return _degraded(f"{told} of {amount(len(place.vms), 'VM')}: {_some(silent)}")


def _schedstat(place: Place) -> Verdict:
    words = (place.text("proc/self/schedstat") or "").split()
    if words and int(words[0]):
        return _ok("the kernel keeps account")
    return _missing("the kernel keeps no account of how threads are scheduled")


def _host_role(place: Place) -> Verdict:
    role = place.system.role
    return _ok(role.because) if role.host else _missing(f"this is no KVM host ({role.because})")


def _guest_role(place: Place) -> Verdict:
    role = place.system.role
    return _ok(role.because) if role.guest else _missing(f"this is no KVM guest ({role.because})")


def _clocksource(place: Place) -> Verdict:
    try:
        found = place.system.sysfs.clocksources()
    except Unavailable as err:
        return _missing(err.reason, err.remedy)
    seen = f"{found.current}, of {', '.join(found.available)}"
    # A guest's kvm-clock is as it should be.
    good = {"tsc"} if place.system.role.host else {"tsc", "kvm-clock"}
    return _ok(seen) if found.current in good else _degraded(seen)


def _adjtimex(place: Place) -> Verdict:
    try:
        place.system.adjtimex()
    except Unavailable as err:
        return _missing(err.reason, err.remedy)
    return _ok("the kernel answers")


def _kernel_log(place: Place) -> Verdict:
    try:
        KernelLog.open(place.system.devices / "kmsg").close()
    except Unavailable as err:
        return _missing(err.reason)
    return _ok(f"{place.system.devices}/kmsg")


def _ptp_clock(place: Place) -> Verdict:
    clocks = place.system.sysfs.ptp_devices()
    ours = [one for one in clocks if one.clock_name == _KVM_CLOCK]
    if not ours:
        return _missing("no PTP clock of the host's")
    node = place.system.devices / ours[0].device
    try:
        place.system.open_ptp(node).close()
    except Unavailable as err:
        return _missing(err.reason)
    return _ok(str(node))


KVM = Need("kvm", _kvm)
PID_NAMESPACE = Need("pid-namespace", _pid_namespace)
CAPABILITIES = Need("capabilities", _capabilities)
BCC = Need("bcc", _bcc)
HEADERS = Need("kernel-headers", _headers)
TRACEFS = Need("tracefs", _tracefs)
PERF_EVENTS = Need("perf-events", _perf_events)
LOCKDOWN = Need("lockdown", _lockdown)
BPF = Need("bpf", _bpf)
TRACEPOINTS = Need("tracepoints", _tracepoints)
DEBUGFS = Need("debugfs", _debugfs)
QMP = Need("qmp", _qmp)
LIBVIRT = Need("libvirt", _libvirt)
GUEST_AGENT = Need("guest-agent", _guest_agent)
SCHEDSTAT = Need("schedstat", _schedstat)
HOST_ROLE = Need("host-role", _host_role)
GUEST_ROLE = Need("guest-role", _guest_role)
STABLE_CLOCKSOURCE = Need("clocksource", _clocksource)
ADJTIMEX = Need("adjtimex", _adjtimex)
KERNEL_LOG = Need("kernel-log", _kernel_log)
PTP_CLOCK = Need("ptp-clock", _ptp_clock)

# What counting with BPF takes, and what makes it count more.
COUNTING = (PID_NAMESPACE, BCC, HEADERS, BPF)
COUNTING_WELL = (CAPABILITIES, TRACEFS, PERF_EVENTS, TRACEPOINTS)
