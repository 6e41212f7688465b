# SPDX-License-Identifier: Apache-2.0
"""A KVM host that gets into trouble when it is told to, while a Prometheus outside looks on.

    python -m tests.lab.boot --tsc reliable --forward PORT:19176 … -- python -m tests.lab.trouble

What is forwarded to it (`tests/lab/boot.py`) reaches

    ORDERS         a line each, a key of `ORDERS`; answered `done` when it is
    HOST_EXPORTER  the exporter on this host
    VM_EXPORTER    the exporter inside the guest `web`

The VMs are `web`, which has the exporter in it, `db`, which has most of the trouble, and `job`,
which comes and goes. An order that fails ends the program, with a traceback.
"""

import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from tests.lab import clockwork
from tests.lab.devices import Disk, UserNic
from tests.lab.discipline import say_synchronised
from tests.lab.exporter import Exporter
from tests.lab.guests import LinuxGuest
from tests.lab.host import Host, ip
from tests.lab.inside import INSIDE, MEMORY_MIB, python_disk, scraped, serve

ORDERS_PORT: Final = 19176
HOST_EXPORTER: Final = 19177
VM_EXPORTER: Final = 19178
END: Final = "end"

_MIB = 1 << 20
_DB_MIB = 256
# Of this host on the emulator's network.
_ADDRESS = "10.0.2.15"
_STEP_SECONDS = 7
_READ_FOREVER = "while :; do dd if=/dev/sda of=/dev/null bs=512 count=65536 iflag=direct; done"
_SET_CLOCK = INSIDE + " -c 'import time; time.clock_settime_ns(0, time.time_ns() + {})'"


class Scene:
    """The host, its exporter and its VMs."""

    def __init__(self) -> None:
        _connect()
        say_synchronised()
        # What a probe's run takes is only counted where this is on.
        Path("/proc/sys/kernel/bpf_stats_enabled").write_text("1")
        self.host = Host()
        # What panels show that takes a flag; the buckets would exceed the budget of series.
        self.exporter = Exporter(
            *("--web.listen-address", f"{_ADDRESS}:{HOST_EXPORTER}"),
            *("--guest-agent", "--balloon.interval", "5", "--balloon.set-polling", "2"),
            *(
                "--collector.exits.per-vcpu",
                "--collector.devices.virtio",
                "--collector.devices.legacy",
                "--collector.io.rare",
            ),
            "--collector.balloon.details",
            port=HOST_EXPORTER,
            everything=False,
        ).start()
        self.db = self.host.start(
            LinuxGuest(
                "db",
                memory_mib=_DB_MIB,
                disks=(Disk("data"), Disk("old", bus="ide")),
                nics=(self.host.tap("lan"),),
                balloon=True,
                balloon_options=",deflate-on-oom=on,free-page-reporting=on",
            )
        )
        lan = self.host.tap("lan")
        outside = UserNic("outside", network=3, forward=(VM_EXPORTER, 9942))
        self.web = self.host.start(
            LinuxGuest(
                "web",
                memory_mib=MEMORY_MIB,
                nics=(lan, outside),
                balloon=True,
                agent=True,
                extra=python_disk(),
            )
        )
        # Who asks from outside is on no network of the guest's.
        self.web.run(f"modprobe ptp_kvm; ip route add default via {outside.peer}")
        serve(self.web, "--role", "guest", "--web.listen-address", "0.0.0.0:9942")
        # It booted by a clock of whole seconds.
        self.set_guest_clock()
        self.web.run(f"ping -i 0.2 {lan.peer} >/dev/null 2>&1 &")
        self.job: LinuxGuest | None = None

    # -- orders -----------------------------------------------------------------------------

    def kill_exporter(self) -> None:
        """As the kernel would that is short of memory."""
        self.exporter.kill()

    def restart_exporter(self) -> None:
        """As systemd would."""
        self.exporter.start()

    def take_memory(self) -> None:
        """`db` is to give what it needs: its balloon cannot inflate."""
        self.db.run(
            "mkdir -p /mnt && mount -t tmpfs -o size=200m none /mnt &&"
            "dd if=/dev/zero of=/mnt/taken bs=1M count=120 2>/dev/null"
        )
        self.db.qmp("balloon", value=64 * _MIB)

    def give_memory(self) -> None:
        """`db` has its memory back."""
        self.db.qmp("balloon", value=_DB_MIB * _MIB)
        self.db.run("umount /mnt")

    def leave_tsc(self) -> None:
        """As the kernel does when it distrusts the TSC."""
        clockwork.switch("hpet")

    def return_to_tsc(self) -> None:
        """As an administrator does who trusts it; the kernel forgot its synchronisation twice."""
        clockwork.switch("tsc")
        say_synchronised()

    def pause_vms(self) -> None:
        """For a moment: KVM decides anew on their master clocks, and their clocks fall behind."""
        for guest in (self.db, self.web):
            guest.pause()
            guest.resume()

    def set_guest_clock(self) -> None:
        """`web` takes its host's time."""
        offset = scraped(self.web).value("kvm_guest_clock_offset_seconds", source="ptp_kvm")
        self.web.run(_SET_CLOCK.format(round(-offset * 1e9)))

    def step_clock(self) -> None:
        """The host's clock is set by seconds."""
        _step(_STEP_SECONDS)

    def step_clock_back(self) -> None:
        """And is right again, and known to be."""
        _step(-_STEP_SECONDS)
        say_synchronised()

    def doubt_clock(self) -> None:
        """A reference says that the host's clock is far off."""
        say_synchronised(offset=0.4, max_error=0.42)

    def trust_clock(self) -> None:
        """It says no more so."""
        say_synchronised()

    def switch_guest_clocksource(self) -> None:
        """`web` runs on its HPET for longer than between two scrapes; it distrusts its TSC."""
        for name in ("hpet", "kvm-clock"):
            self.web.run(f"echo {name} >{clockwork.CLOCKSOURCE}/current_clocksource; sleep 7")

    def start_job(self) -> None:
        """A VM boots beside the others; its processor has no deadline timer, and it sets many."""
        self.job = self.host.start(LinuxGuest("job", cpu="qemu64"))
        self.job.run("ping -i 0.02 127.0.0.1 >/dev/null 2>&1 &")

    def stop_job(self) -> None:
        """It ends, which is no trouble at all."""
        if self.job:
            self.job.stop()

    def storm(self) -> None:
        """`db` reads its emulated disk block by block, as fast as it can."""
        self.db.run(f"setsid sh -c '{_READ_FOREVER}' >/dev/null 2>&1 & echo $! >/tmp/storm")

    def calm(self) -> None:
        """It stops, as soon as the guest comes to it: its one processor is busy."""
        self.db.run("kill -- -$(cat /tmp/storm)", timeout=180)

    def close(self) -> None:
        """End all of it."""
        self.exporter.close()
        self.host.close()


ORDERS: Final[Mapping[str, Callable[[Scene], None]]] = {
    "kill-exporter": Scene.kill_exporter,
    "restart-exporter": Scene.restart_exporter,
    "take-memory": Scene.take_memory,
    "give-memory": Scene.give_memory,
    "leave-tsc": Scene.leave_tsc,
    "return-to-tsc": Scene.return_to_tsc,
    "pause-vms": Scene.pause_vms,
    "set-guest-clock": Scene.set_guest_clock,
    "switch-guest-clocksource": Scene.switch_guest_clocksource,
    "step-clock": Scene.step_clock,
    "step-clock-back": Scene.step_clock_back,
    "doubt-clock": Scene.doubt_clock,
    "trust-clock": Scene.trust_clock,
    "start-job": Scene.start_job,
    "stop-job": Scene.stop_job,
    "storm": Scene.storm,
    "calm": Scene.calm,
}


def _step(seconds: int) -> None:
    time.clock_settime_ns(time.CLOCK_REALTIME, time.time_ns() + seconds * 1_000_000_000)


def _connect() -> None:
    """Take the address on the emulator's network that ports are forwarded to."""
    subprocess.run(["modprobe", "virtio_net"], check=True)
    ip(f"address add {_ADDRESS}/24 dev eth0")
    ip("link set eth0 up")


def main() -> None:
    """Set the scene, then obey until the end."""
    scene = Scene()
    print("ready", flush=True)
    try:
        with socket.create_server(("", ORDERS_PORT)) as server:
            order = ""
            while order != END:
                connection, _ = server.accept()
                with connection, connection.makefile("rw") as line:
                    if order := line.readline().strip():
                        begun = time.monotonic()
                        if order != END:
                            ORDERS[order](scene)
                        print(f"{order}: {time.monotonic() - begun:.1f} s", flush=True)
                        line.write("done\n")
    finally:
        print(scene.exporter.log(), flush=True)
        scene.close()


if __name__ == "__main__":
    main()
