# SPDX-License-Identifier: Apache-2.0
"""A VM to look at: `python -m tests.guest.demo` runs one with varied exits until it is interrupted.

Several devices, both handlers and both directions of each kind of access, timers and halts, at a
pace that leaves most of a core free.
"""

import argparse
import signal
import sys
import threading

from tests.guest.build import BuildError
from tests.guest.machine import E1000, VIRTIO_BLK, VIRTIO_NET, BareMetalGuest, GuestError

_DEVICES = (*VIRTIO_BLK, *VIRTIO_NET, *E1000)
_ONCE = "virtio_init=1:0 virtio_init=1:1"
_EVERY_ROUND = (
    *("serial_write=7 serial_read=3 rtc_read=5 rtc_write=1 pmtimer_read=11",),
    *("pit_read=2 pit_write=2 pic_read=3 pic_write=1 hpet_read=5 hpet_write=2",),
    *("ioapic_read=3 ioapic_write=2 e1000_read=13 e1000_write=3 e1000_write_coalesced=5",),
    *("virtio_notify=17:0:0 virtio_notify=19:0:1 virtio_notify=23:1:1",),
    *("msr_read=3 msr_write=2 cpuid=3 tsc_deadline=5 timer=3 hlt=2 mmio_random=2",),
)


def main() -> int:
    """Runs the guest until SIGTERM or SIGINT; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.guest.demo", description=__doc__)
    parser.add_argument("--name", default="demo", help="name of the VM (default: demo)")
    parser.add_argument("--accel", default="kvm", choices=("kvm", "tcg"))
    parser.add_argument("--pace-us", type=int, default=50_000, help="pause after each round")
    options = parser.parse_args()

    finished = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: finished.set())
    rounds = " ".join(_EVERY_ROUND)
    if options.accel == "tcg":
        rounds = rounds.replace("tsc_deadline=5 timer=3 ", "")
    guest = BareMetalGuest(
        options.name,
        devices=_DEVICES,
        accel=options.accel,
        command_line=f"endless pace_us={options.pace_us} {_ONCE} then {rounds}",
    )
    try:
        with guest:
            print(f"guest {options.name}: pid {guest.pid}, QMP {guest.qmp_path}", flush=True)
            seen_round = False
            while not finished.wait(0.5):
                guest.check()
                if not seen_round and guest.rounds:
                    seen_round = True
                    print("its first round is done", flush=True)
    except (GuestError, BuildError) as err:
        print(f"demo: {err}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
