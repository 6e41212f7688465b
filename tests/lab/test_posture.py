# SPDX-License-Identifier: Apache-2.0
"""VMs of every make on a real host: posture and advice exactly as they were built."""

import subprocess
from collections.abc import Callable
from functools import partial

import pytest

from kvmexporter.model import device_findings, disk_findings, processor_findings
from tests.lab.devices import Disk, UserNic
from tests.lab.exporter import Exporter, Scrape
from tests.lab.guests import LinuxGuest
from tests.lab.host import Host, ip
from tests.waiting import eventually

pytestmark = [pytest.mark.on_kernel("6.12"), pytest.mark.long]

INFO = "kvm_vm_device_info"
OURS = {
    rule.id
    for rules in (device_findings.RULES, disk_findings.RULES, processor_findings.RULES)
    for rule in rules
}
# Stopped before its first instruction: how a VM is built shows all the same.
STOPPED = ("-S",)
wait_until = partial(eventually, seconds=60, every=0.3)

# Device → driver, path, bus, back end, queues, ioeventfd, MSI-X.
Devices = dict[str, tuple[str, ...]]
VIRTIO_PCI = ("virtio", "pci", "qemu", "", "on", "on")


def good(host: Host) -> LinuxGuest:
    return LinuxGuest(
        "good",
        vcpus=2,
        disks=(Disk("disk0", iothread=True),),
        nics=(host.tap("nic0"),),
        balloon=True,
        balloon_options=",deflate-on-oom=on,free-page-reporting=on",
        extra=STOPPED,
    )


def old(_host: Host) -> LinuxGuest:
    return LinuxGuest(
        "old",
        cpu="qemu64",
        disks=(Disk("disk0", bus="ide"),),
        nics=(UserNic("nic0", model="e1000"),),
        balloon=True,
        extra=STOPPED,
    )


def slow(host: Host) -> LinuxGuest:
    return LinuxGuest(
        "slow",
        vcpus=4,
        disks=(
            Disk("disk0", ioeventfd=False, options=",num-queues=2"),
            Disk("disk1", options=",vectors=0,disable-modern=on,num-queues=2"),
        ),
        nics=(host.tap("nic0", vhost=False),),
        extra=STOPPED,
    )


def scsi(_host: Host) -> LinuxGuest:
    null = "driver=null-co,if=none"
    return LinuxGuest(
        "scsi",
        disks=(Disk("disk0", bus="virtio-scsi", iothread=True),),
        nics=(UserNic("nic0"),),
        extra=(
            *("-drive", f"{null},id=unsafe,cache=unsafe"),
            *("-device", "virtio-blk-pci,id=disk1,drive=unsafe"),
            *("-drive", f"{null},id=slow,cache=writethrough"),
            *("-device", "virtio-blk-pci,id=disk2,drive=slow"),
            *STOPPED,
        ),
    )


MATRIX: tuple[tuple[Callable[[Host], LinuxGuest], Devices, set[tuple[str, str]]], ...] = (
    (
        good,
        {
            "disk0": ("virtio-blk-pci", "virtio", "pci", "iothread", "2", "on", "on"),
            "nic0": ("virtio-net-pci", "vhost", "pci", "vhost", "1", "on", "on"),
        },
        set(),
    ),
    (
        old,
        {
            "disk0": ("ide-hd", "emulated", "ide", "qemu", "", "", ""),
            "nic0": ("e1000", "emulated", "pci", "qemu", "", "", ""),
        },
        {
            ("cpu-model-baseline", "warning"),
            ("disk-emulated", "warning"),
            ("nic-emulated", "warning"),
        },
    ),
    (
        slow,
        {
            "disk0": ("virtio-blk-pci", "virtio", "pci", "qemu", "2", "off", "on"),
            "disk1": ("virtio-blk-pci", "virtio", "pci", "qemu", "2", "on", "off"),
            "nic0": ("virtio-net-pci", "virtio", "pci", "qemu", "1", "on", "on"),
        },
        {
            ("virtio-without-ioeventfd", "warning"),
            ("virtio-without-msix", "warning"),
            ("virtio-legacy", "warning"),
            ("nic-without-vhost", "warning"),
            ("single-queue", "info"),
        },
    ),
    (
        scsi,
        {
            "disk0-controller": ("virtio-scsi-pci", "virtio", "pci", "iothread", "1", "on", "on"),
            "disk0": ("scsi-hd", "virtio", "scsi", "iothread", "", "", ""),
            "disk1": ("virtio-blk-pci", "virtio", "pci", "qemu", "1", "on", "on"),
            "disk2": ("virtio-blk-pci", "virtio", "pci", "qemu", "1", "on", "on"),
            "nic0": ("virtio-net-pci", "virtio", "pci", "qemu", "1", "on", "on"),
        },
        {("disk-cache-unsafe", "warning"), ("disk-cache-slow", "info")},
    ),
)


def built(scrape: Scrape, vm: str) -> Devices:
    labels = ("driver", "path", "bus", "backend", "queues", "ioeventfd", "msix")
    return {
        sample.labels["device"]: tuple(sample.labels[label] for label in labels)
        for sample in scrape.samples(INFO, vm=vm)
        if sample.labels["backend"]
    }


def told(scrape: Scrape, vm: str) -> dict[tuple[str, str], float]:
    """(rule, severity) → findings, of the rules on how VMs are built."""
    return {
        (sample.labels["rule"], sample.labels["severity"]): sample.value
        for sample in scrape.samples("kvm_findings", vm=vm)
        if sample.labels["rule"] in OURS
    }


def test_a_matrix_of_vms(session_exporter: Exporter, host: Host) -> None:
    """Each device as it was built, each rule where it should fire and nowhere else."""
    exporter = session_exporter
    for make, devices, rules in MATRIX:
        guest = host.start(make(host), wait=False)
        # The virtio-scsi controller's queues and a PCI address are QEMU's word: it was asked.
        exporter.wait_for("kvmexporter_vm_refresh_age_seconds", vm=guest.name)
        scrape = exporter.scrape()
        found = built(scrape, guest.name)
        assert {name: found.get(name) for name in devices} == devices
        assert told(scrape, guest.name) == dict.fromkeys(rules, 1.0)
        balloons = [name for name in found if name.startswith("balloon")]
        assert len(balloons) == int(guest.balloon)
        assert scrape.total(INFO, vm=guest.name) <= 20
        guest.stop()


def test_disks_and_nics(session_exporter: Exporter, host: Host) -> None:
    """What is behind them: cache and aio mode; the tap, and whether offloads pass it."""
    guest = host.start(slow(host), wait=False)
    scrape = session_exporter.wait_for("kvmexporter_vm_refresh_age_seconds", vm=guest.name)
    disks = {
        (one.labels["device"], one.labels["cache"], one.labels["aio"])
        for one in scrape.samples("kvm_vm_disk_info", vm=guest.name)
    }
    assert disks == {("disk0", "writeback", "threads"), ("disk1", "writeback", "threads")}
    (nic,) = scrape.samples("kvm_vm_nic_info", vm=guest.name)
    tap = guest.nics[0].tap  # type: ignore[union-attr] # it is one
    assert nic.labels == {
        "vm": guest.name, "device": "nic0", "netdev": "tap", "nic": tap, "vnet_hdr": "on",
        "multi_queue": "off",
    }  # fmt: skip


def ethtool(nic: str, *features: str) -> None:
    done = subprocess.run(["ethtool", "-K", nic, *features], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_offloads_follow_the_switch(session_exporter: Exporter, host: Host) -> None:
    """`ethtool -K` on the tap: the metric and the finding come and go with it."""
    exporter = session_exporter
    nic = host.tap("nic0")
    bridge = host.bridge(nic)
    uplink, far_end = f"{bridge}-up", f"{bridge}-far"
    ip(f"link add {uplink} type veth peer name {far_end}")
    try:
        ip(f"link set {uplink} master {bridge}")
        guest = host.start(LinuxGuest("offloads", nics=(nic,)))

        def offload(name: str, of: str) -> float:
            return exporter.scrape().value("kvm_host_nic_offload_enabled", nic=of, offload=name)

        def finding() -> float:
            return exporter.scrape().total(
                "kvm_findings", vm=guest.name, rule="tap-offloads-differ", severity="warning"
            )

        exporter.wait_for("kvm_host_nic_offload_enabled", nic=nic.tap, role="tap")
        exporter.wait_for("kvm_host_nic_offload_enabled", nic=bridge, role="bridge")
        exporter.wait_for("kvm_host_nic_offload_enabled", nic=uplink, role="uplink")
        wait_until(lambda: offload("tso", nic.tap) == 1, lambda: "the guest's driver is up")
        assert offload("tso", uplink) == 1
        assert finding() == 0
        ethtool(nic.tap, "tso", "off")
        assert offload("tso", nic.tap) == 0
        assert offload("tso", uplink) == 1
        wait_until(lambda: finding() == 1, lambda: exporter.scrape().samples("kvm_findings"))
        ethtool(uplink, "tso", "off")
        assert offload("tso", uplink) == 0
        assert finding() == 0
        ethtool(uplink, "tso", "on")
        assert finding() == 1
        ethtool(nic.tap, "tso", "on")
        assert offload("tso", nic.tap) == 1
        assert finding() == 0
    finally:
        ip(f"link delete {uplink}")
