# SPDX-License-Identifier: Apache-2.0
"""What `make run` does: the exporter, and the demo guest where the host runs no VM.

The guest ends when the exporter does, however that ends.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil

from kvmexporter.inventory import Inventory
from kvmexporter.sources.procfs import Procfs

_LOOK_SECONDS = 0.1


def main() -> int:
    """Runs both until the exporter ends; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.guest.run", description=__doc__)
    parser.add_argument("--address", default="127.0.0.1:9942")
    options = parser.parse_args()

    exporter = subprocess.Popen(
        [
            str(Path(sys.executable).with_name("kvmexporter")),
            *("serve", "--web.listen-address", options.address),
        ]
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: exporter.send_signal(number))
    guest = None
    try:
        if not _listens(exporter):
            return exporter.wait()
        if why_not := _reason_for_no_guest():
            print(f"No demo guest: {why_not}.", flush=True)
        else:
            print("No VM runs on this host: starting the demo guest.", flush=True)
            guest = subprocess.Popen([sys.executable, "-m", "tests.guest.demo"])
        print(
            f"Look at http://{options.address}/ or: curl -s {options.address}/metrics", flush=True
        )
        return exporter.wait()
    finally:
        if guest:
            guest.terminate()
            guest.wait()
            print("The demo guest is stopped.", flush=True)


def _listens(exporter: subprocess.Popen[bytes]) -> bool:
    """Wait until it does; False if it ends before that, and has said why."""
    while exporter.poll() is None:
        with suppress(psutil.NoSuchProcess):
            connections = psutil.Process(exporter.pid).net_connections()
            if any(one.status == psutil.CONN_LISTEN for one in connections):
                return True
        time.sleep(_LOOK_SECONDS)
    return False


def _reason_for_no_guest() -> str:
    inventory = Inventory(Procfs())
    inventory.refresh()
    if vms := inventory.vms():
        return f"this host runs {', '.join(vm.name for vm in vms)}"
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return "there is no /dev/kvm that this user may open"
    if not shutil.which("qemu-system-x86_64"):
        return "qemu-system-x86_64 is not installed"
    return ""


if __name__ == "__main__":
    sys.exit(main())
