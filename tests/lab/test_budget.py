# SPDX-License-Identifier: Apache-2.0
"""A busy Linux guest with five devices has the series that it may have, and no more."""

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.lab.devices import Disk, UserNic
from tests.lab.exporter import Exporter
from tests.lab.guests import LinuxGuest
from tests.lab.host import Host
from tests.waiting import eventually

pytestmark = pytest.mark.on_kernel("6.12")

VM = "budgeted"
MOST = 150
READS = 1201
_SECONDS = 90.0


@pytest.fixture
def by_default() -> Iterator[Exporter]:
    """An exporter with the flags that nobody gave."""
    made = Exporter(port=19196, everything=False)
    try:
        yield made.start()
    finally:
        made.close()


def test_a_busy_vm_is_within_its_budget(by_default: Exporter, host: Host) -> None:
    """Disks and NICs of several paths, a balloon, timers and statistics: everything at once."""
    guest = host.start(
        LinuxGuest(
            VM,
            disks=(Disk("fast"), Disk("slow", ioeventfd=False)),
            nics=(host.tap("kernel"), UserNic("user")),
            balloon=True,
        )
    )

    def series() -> Counter[str]:
        scrape = by_default.scrape()
        return Counter(
            sample.name
            for family in scrape.families.values()
            for sample in family.samples
            if sample.labels.get("vm") == VM
        )

    asked = {"kvm_vm_balloon_actual_bytes", "kvm_vm_kvm_stat_total", "kvm_vm_cpu_feature"}
    eventually(lambda: asked <= series().keys(), "what QEMU says", _SECONDS, every=1.0)

    def busy() -> bool:
        """Once more, until what it does is counted on its devices, which QEMU has told by then."""
        for device in ("vda", "vdb"):
            guest.run(
                f"dd if=/dev/{device} of=/dev/null bs=4096 count={READS} iflag=direct 2>/dev/null"
            )
        guest.run(f"ping -c 100 -i 0.01 {guest.nics[0].peer} >/dev/null")
        return bool(by_default.scrape().samples("kvm_vm_io_exits_total", vm=VM, device="slow"))

    eventually(busy, "accesses to the disk", _SECONDS)
    found = series()
    print(found)
    assert {"kvm_vm_exit_stall_seconds_bucket", "kvm_vm_timer_lateness_seconds_bucket"} <= set(
        found
    )
    assert found["kvm_vm_exits_total"] >= 5
    assert found.total() <= MOST, found
