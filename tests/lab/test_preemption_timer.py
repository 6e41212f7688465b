# SPDX-License-Identifier: Apache-2.0
"""VMX's preemption timer, which runs guests' deadlines where kvm_intel may use it, on and off."""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from kvmexporter.tables.exit_reasons import Isa, exit_reason
from tests.guest import BareMetalGuest
from tests.lab.bare_metal import LAST_PRIORITY, booted
from tests.lab.exporter import Exporter, Scrape
from tests.lab.timers import check, watch
from tests.lab.window import observe
from tests.lab.witness import EventCount

pytestmark = pytest.mark.on_cpu("intel")

_PARAMETER = Path("/sys/module/kvm_intel/parameters/preemption_timer")


@dataclass(frozen=True, slots=True)
class Booted:
    """A guest, and what its boot was seen to make.

    Attributes:
        guest: waits for commands.
        exits: the kernel's count of kvm_exit until then, by reason.
        scrape: the exporter's.
    """

    guest: BareMetalGuest
    exits: Counter[str]
    scrape: Scrape


@pytest.fixture(scope="module", params=["Y", "N"])
def boot(request: pytest.FixtureRequest, session_exporter: Exporter) -> Iterator[Booted]:
    """A guest on a host whose kvm_intel was loaded with preemption_timer=Y, then =N."""
    assert session_exporter.pid
    subprocess.run(["rmmod", "kvm_intel"], check=True)
    option = f"preemption_timer={request.param}"
    subprocess.run(["modprobe", "kvm_intel", option], check=True)
    assert _PARAMETER.read_text().strip() == request.param
    counted = EventCount("kvm_exit", "common_pid", "exit_reason")
    with counted, booted(f"timers-{request.param}") as machine:
        tids = machine.vcpu_tids
        for tid in tids:
            os.setpriority(os.PRIO_PROCESS, tid, LAST_PRIORITY)
        machine.pause()
        exits: Counter[str] = Counter()
        for (tid, code), count in counted.read().items():
            if tid in tids:
                exits[exit_reason(Isa.VMX, code & 0xFFFF)] += count
        scrape = session_exporter.wait_for("kvm_vm_exits_total", vm=machine.name)
        machine.resume()
        yield Booted(machine, exits, scrape)


@pytest.fixture
def guest(boot: Booted) -> BareMetalGuest:
    """The guest alone."""
    return boot.guest


def _leave(guest: BareMetalGuest, **numbers: object) -> None:
    """Write down what docs/how-it-works.md shows of a run."""
    path = Path(os.environ["KVMEXPORTER_LAB_RESULTS"]) / f"{guest.name}.json"
    there = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(there | numbers, indent=2))


def test_arms(session_exporter: Exporter, guest: BareMetalGuest) -> None:
    """Each arm is counted: by the fast path with the preemption timer, by the slow one without."""
    number = 67
    seen = observe(session_exporter, guest, lambda: guest.run(tsc_deadline=number))
    moved = seen.moved("kvm_vm_tsc_deadline_arms_total", "vm", vm=guest.name)
    assert moved == {(guest.name,): number}
    exits = seen.moved("kvm_vm_exits_total", "reason", vm=guest.name)
    assert exits == {(reason,): count for reason, count in seen.by_reason().items()}
    assert exits["MSR_WRITE",] == number
    handling = [
        scrape.total("kvm_vm_exit_handling_seconds_sum", vm=guest.name, **{"class": "msr"})
        for scrape in (seen.before, seen.after)
    ]
    _leave(guest, arm_seconds=(handling[1] - handling[0]) / number)


def test_deadlines(session_exporter: Exporter, guest: BareMetalGuest) -> None:
    """Each timer that fires has its lateness; the hardware's switches are there with it alone."""
    number = 53
    seen = watch(session_exporter, guest, lambda: guest.run(timer=(number, 2000)))
    check(seen, guest.name)
    assert seen.moved("kvm_vm_tsc_deadline_arms_total", vm=guest.name) == number
    assert seen.moved("kvm_vm_timer_lateness_seconds_count", vm=guest.name) == number
    assert bool(seen.states[True]) == (guest.name == "timers-Y")
    _leave(
        guest,
        hardware=seen.states[True],
        software=seen.states[False],
        early=seen.moved("kvm_vm_timer_early_total", vm=guest.name),
        late_seconds=seen.moved("kvm_vm_timer_lateness_seconds_sum", vm=guest.name),
    )


def test_the_timers_own_exits(boot: Booted) -> None:
    """A deadline that comes while the guest runs is a PREEMPTION_TIMER exit, and not without it.

    The guest tries its timer once when it starts, and spins meanwhile; later it halts, and KVM lets
    a halted guest's deadline to the host's own timers.
    """
    exits = boot.scrape.by("reason", "kvm_vm_exits_total", vm=boot.guest.name)
    assert exits == boot.exits
    assert bool(exits.get("PREEMPTION_TIMER")) == (boot.guest.name == "timers-Y")
    _leave(boot.guest, boot=exits)
