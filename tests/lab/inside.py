# SPDX-License-Identifier: Apache-2.0
"""The exporter inside a guest: carried there as an archive on a disk of its own, and asked."""

import os
import time

from tests.lab.exporter import Scrape
from tests.lab.guests import LinuxGuest
from tests.lab.python_archive import GUEST_SETUP, PYTHON
from tests.lab.shell import GuestError

INSIDE = f"chroot /python {PYTHON}"
# What a guest needs of memory to hold it.
MEMORY_MIB = 448
_SERIAL = "python"
_SERVE = f"{INSIDE} -m kvmexporter serve --no-bpf %s >/tmp/serve.log 2>&1 & sleep 0.1"
_SCRAPE = "wget -qO- http://127.0.0.1:9942/metrics"
_FIND = f"echo /dev/$(grep -l '^{_SERIAL}$' /sys/block/vd*/serial | cut -d/ -f4)"
_START_SECONDS = 120.0


def python_disk() -> tuple[str, ...]:
    """More arguments for a QEMU whose guest shall have it."""
    archive = os.environ["KVMEXPORTER_LAB_GUEST_PYTHON"]
    return (
        *("-drive", f"file={archive},format=raw,if=none,id=python-drive,readonly=on"),
        *("-device", f"virtio-blk-pci,id=python,drive=python-drive,serial={_SERIAL}"),
    )


def serve(guest: LinuxGuest, *arguments: str) -> None:
    """Unpack it in a guest that has the disk, start it, and wait until it serves."""
    disk = guest.run(_FIND).strip()
    guest.run(GUEST_SETUP.format(disk=disk), timeout=120)
    guest.run(_SERVE % " ".join(arguments))
    deadline = time.monotonic() + _START_SECONDS
    while guest.exit_code(f"{_SCRAPE} >/dev/null") != 0:
        if time.monotonic() > deadline:
            raise GuestError(f"no exporter in the guest:\n{guest.run('cat /tmp/serve.log')}")
        time.sleep(0.5)


def scraped(guest: LinuxGuest) -> Scrape:
    """What it serves in there."""
    return Scrape(guest.run(_SCRAPE))
