# SPDX-License-Identifier: Apache-2.0
"""Record what one real VM makes an exporter see, for the benchmark to multiply.

    python -m tests.lab.boot --kernel 6.12 -- python -m tests.bench.record

In the lab: a Linux guest with five devices (a NIC on vhost, a disk, a balloon, a serial channel
and a source of entropy) boots while the exporter runs, works for a while, and is looked at. Kept
are its QEMU's answers, its processor's counters as BPF has them, and what the exporter served;
`linux-guest.json` of the results directory is then copied to `recordings/`.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from kvmexporter.sources.qemu import Visitor
from tests.bench.counting import clock_of, offsets_of, records_of, sparse
from tests.bench.tap import Tap
from tests.lab.devices import Disk
from tests.lab.exporter import Exporter, Scrape
from tests.lab.guests import LinuxGuest
from tests.lab.host import Host
from tests.unit.model.record import written

_NAME = "linux-guest"
_VISITS_SECONDS = 75  # a refresh, so that the last visit sees what the guest settled on
_DEADLINE_SECONDS = 60.0
_DEVICES = ("-object", "rng-random,id=entropy,filename=/dev/urandom",
            "-device", "virtio-rng-pci,rng=entropy,id=rng0")  # fmt: skip


def _work(guest: LinuxGuest, peer: str) -> None:
    guest.run("dd if=/dev/vda of=/dev/null bs=4096 count=211 iflag=direct 2>/dev/null")
    guest.run("dd if=/dev/urandom of=/dev/vda bs=4096 count=53 oflag=direct 2>/dev/null")
    guest.run(f"ping -c 5 -i 0.2 {peer} >/dev/null", check=False)
    guest.run("dd if=/dev/hwrng of=/dev/null bs=16 count=3 2>/dev/null", check=False)
    guest.run("cat /proc/interrupts /proc/meminfo >/dev/null; date >/dev/null; sleep 2")
    guest.monitor("balloon 160")


def _series(scrape: Scrape, vm: str) -> list[list[Any]]:
    return [
        [sample.name, sample.labels, sample.value]
        for family in scrape.families.values()
        for sample in family.samples
        if sample.labels.get("vm") == vm
    ]


def record() -> dict[str, Any]:
    """Run the guest and look at it."""
    host = Host()
    exporter = Exporter("--log.level", "debug")
    try:
        exporter.start()
        nic = host.tap("nic0")
        guest = host.start(
            LinuxGuest(
                _NAME, vcpus=2, memory_mib=192, disks=(Disk("disk0"),), nics=(nic,), balloon=True,
                agent=True, extra=_DEVICES,
            )
        )  # fmt: skip
        socket = guest.directory / "qmp.sock"
        with Tap(socket) as tap:
            _work(guest, nic.peer)
            # The exporter has asked for the schema already, and does so once only.
            asyncio.run(Visitor().visit(socket, _DEADLINE_SECONDS))
            time.sleep(_VISITS_SECONDS)
            _work(guest, nic.peer)
            scrape = exporter.scrape()
            counted = [sparse(data) for data in records_of(exporter.pid, guest.vcpu_tids)]
            assert len(counted) == len(guest.vcpu_tids)
            clock = clock_of(exporter.pid, guest.pid)
            offsets = offsets_of(exporter.pid, guest.pid)
            replies = dict(tap.replies)
        line = Path(f"/proc/{guest.pid}/cmdline").read_bytes().decode().split("\0")[:-1]
        print(exporter.log()[-3000:], file=sys.stderr)
        return {
            "version": replies["query-version"]["return"],
            "command_line": [_nowhere(word, guest) for word in line],
            "fatal": {},
            "replies": replies,
            "vcpus": counted,
            "clock": clock,
            "tsc_offsets": offsets,
            "series": _series(scrape, _NAME),
        }
    finally:
        exporter.close()
        host.close()


def _nowhere(word: str, guest: LinuxGuest) -> str:
    """A word of the command line without the paths of the machine that recorded it."""
    for there, instead in (
        (str(guest.directory), "/run/guest"),
        (guest.environment["KVMEXPORTER_LAB_GUEST_VMLINUX"], "/boot/vmlinux"),
        (guest.environment["KVMEXPORTER_LAB_GUEST_INITRAMFS"], "/boot/guest.cpio"),
    ):
        word = word.replace(there, instead)
    return word


def main() -> None:
    """Record into the results directory of the lab."""
    recording = record()
    target = Path(os.environ["KVMEXPORTER_LAB_RESULTS"]) / "linux-guest.json"
    counted = {name: recording.pop(name) for name in ("vcpus", "clock", "tsc_offsets")}
    series = recording.pop("series")
    text = written(recording).rstrip().removesuffix("}")
    lines = [json.dumps(one) for one in series]
    target.write_text(
        f"{text},\n"
        + "".join(f'"{name}":{json.dumps(one)},\n' for name, one in counted.items())
        + '"series":[\n'
        + ",\n".join(lines)
        + "\n]}\n"
    )
    print(f"{len(series)} series, {len(recording['replies'])} replies")


if __name__ == "__main__":
    main()
