# SPDX-License-Identifier: Apache-2.0
"""Which VMs a procfs tree shows, and how they are called."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from kvmexporter.inventory import Inventory, describe
from kvmexporter.model.posture import Posture
from kvmexporter.model.vm import MAX_NAME_LENGTH, Vm, VmId
from kvmexporter.sources.libvirt import Libvirt
from kvmexporter.sources.procfs import KvmDescriptors, KvmProcesses
from tests.unit.model import recorded
from tests.unit.procfs_tree import NS_PER_TICK, ProcfsTree

QEMU = "/usr/bin/qemu-system-x86_64"
RECORDINGS = Path(recorded.__file__).with_name("recordings") / "libvirt"


def refreshed(tree: ProcfsTree) -> Inventory:
    inventory = Inventory(tree.procfs)
    inventory.refresh()
    return inventory


def names(inventory: Inventory) -> list[str]:
    return [vm.name for vm in inventory.vms()]


def test_a_vm_is_what_holds_a_vm_descriptor(tree: ProcfsTree) -> None:
    """A QEMU that emulates is none, and neither is a process with KVM open."""
    tree.process(10, [QEMU, "-name", "kvm"], vms=1, vcpus=2)
    tree.process(11, [QEMU, "-name", "tcg"], vms=0, vcpus=0)
    tree.process(12, ["bash"], vms=0, vcpus=0)
    assert names(refreshed(tree)) == ["kvm"]


def test_no_vm(tree: ProcfsTree) -> None:
    """An empty host is no error."""
    assert refreshed(tree).vms() == ()


def test_whether_a_vm_may_have_been_missed(tree: ProcfsTree) -> None:
    """By who may not see what others hold."""
    assert refreshed(tree).sees_all
    tree.process(10, ["bash"], vms=0)
    (tree.root / "self").symlink_to("10")  # mounted with hidepid: nobody else is there
    assert not refreshed(tree).sees_all


def test_everything_that_is_known(tree: ProcfsTree) -> None:
    """From the command line and the descriptors."""
    tree.process(
        10,
        [QEMU, "-name", "guest=web,debug-threads=on", "-M", "q35", "-cpu", "host", "-m", "2G",
         "-uuid", "12345678-1234-1234-1234-123456789abc"],
        start_ticks=777,
        vcpus=4,
    )  # fmt: skip
    assert refreshed(tree).vms() == (
        Vm(
            id=VmId(777 * NS_PER_TICK, 10),
            name="web",
            vmm="qemu",
            identified_by="qemu",
            uuid="12345678-1234-1234-1234-123456789abc",
            machine="q35",
            cpu_model="host",
            vcpus=4,
            memory_max_bytes=2 << 30,
            posture=Posture("host"),
        ),
    )


@pytest.mark.parametrize(
    ("arguments", "name", "vmm", "identified_by"),
    [
        ([QEMU, "-name", "web"], "web", "qemu", "qemu"),
        ([QEMU], "pid-10", "qemu", "pid"),
        ([QEMU, "-name", ""], "pid-10", "qemu", "pid"),
        (["/opt/firecracker", "--id", "x"], "x", "firecracker", "firecracker"),
        (["/opt/firecracker"], "pid-10", "firecracker", "pid"),
        (["./a\nb"], "pid-10", "a\ufffdb", "pid"),
        ([QEMU, "-name", "a\nb\x1b"], "a\ufffdb\ufffd", "qemu", "qemu"),
        ([QEMU, "-name", "<b>&\"'"], "<b>&\"'", "qemu", "qemu"),
        ([QEMU, "-name", "n" * 10_000], "n" * (MAX_NAME_LENGTH - 1) + "…", "qemu", "qemu"),
        (["v" * 10_000], "pid-10", "v" * (MAX_NAME_LENGTH - 1) + "…", "pid"),
    ],
)
def test_names(
    tree: ProcfsTree, arguments: Sequence[str], name: str, vmm: str, identified_by: str
) -> None:
    """The VMM's own name for it, else its pid; nothing that a tenant writes gets out as it is."""
    tree.process(10, arguments)
    (vm,) = refreshed(tree).vms()
    assert (vm.name, vm.vmm, vm.identified_by) == (name, vmm, identified_by)


def test_every_text_of_a_tenant_is_bounded() -> None:
    """Name, UUID, machine and CPU model alike."""
    arguments = [QEMU]
    for option in ("-name", "-uuid", "-machine", "-cpu"):
        arguments += [option, "\n" + "z" * 10_000]
    vm = describe(VmId(1, 10), arguments, KvmDescriptors(1, 1))
    for text in (vm.name, vm.uuid, vm.machine, vm.cpu_model):
        assert len(text) == MAX_NAME_LENGTH
        assert text.isprintable()


def test_two_of_one_name(tree: ProcfsTree) -> None:
    """The older keeps it, as while a VM migrates within its host."""
    tree.process(20, [QEMU, "-name", "web"], start_ticks=100)
    tree.process(10, [QEMU, "-name", "web"], start_ticks=200)
    inventory = refreshed(tree)
    assert names(inventory) == ["web", "web~10"]
    tree.end(20)
    assert names(inventory) == ["web"]


def test_a_vm_is_gone_with_its_process(tree: ProcfsTree) -> None:
    """At once, not at the next refresh."""
    tree.process(10, [QEMU, "-name", "web"])
    inventory = refreshed(tree)
    tree.end(10)
    assert names(inventory) == []
    assert inventory.identify(10) is None


def test_a_pid_that_comes_again_is_another_vm(tree: ProcfsTree) -> None:
    """The old one is gone at once; the new one is found when it is met."""
    tree.process(10, [QEMU, "-name", "old"], start_ticks=100)
    inventory = refreshed(tree)
    tree.process(10, [QEMU, "-name", "new"], start_ticks=200)
    assert names(inventory) == []
    assert inventory.identify(10) == VmId(200 * NS_PER_TICK, 10)
    assert names(inventory) == ["new"]


def test_a_vm_met_in_bpf_before_the_scan(tree: ProcfsTree) -> None:
    """It is looked at there and then, and once."""
    inventory = refreshed(tree)
    tree.process(10, [QEMU, "-name", "web"], start_ticks=100, vcpus=3)
    identity = inventory.identify(10)
    assert identity == VmId(100 * NS_PER_TICK, 10)
    assert [(vm.name, vm.vcpus) for vm in inventory.vms()] == [("web", 3)]
    assert inventory.identify(10) is identity


def test_a_refresh_looks_at_known_vms_again(tree: ProcfsTree) -> None:
    """A VM may get more vCPUs."""
    tree.process(10, [QEMU, "-name", "web"], vcpus=1)
    inventory = refreshed(tree)
    (tree.root / "10" / "fd" / "99").symlink_to("anon_inode:kvm-vcpu:1")
    assert [vm.vcpus for vm in inventory.vms()] == [1]
    inventory.refresh()
    assert [vm.vcpus for vm in inventory.vms()] == [2]


def test_a_vcpu_that_is_plugged_in_is_told_of_at_once(tree: ProcfsTree) -> None:
    """When BPF meets it; nothing else of the VM changes, and nothing of a process that is gone."""
    tree.process(10, [QEMU, "-name", "web"], vcpus=1)
    inventory = refreshed(tree)
    (before,) = inventory.vms()
    (tree.root / "10" / "fd" / "99").symlink_to("anon_inode:kvm-vcpu:1")
    inventory.meet(10)
    assert inventory.vms() == (replace(before, vcpus=2),)
    inventory.meet(11)
    inventory.meet(10)
    assert inventory.vms() == (replace(before, vcpus=2),)


def test_a_vcpu_that_is_met_while_a_scan_is_under_way(tree: ProcfsTree) -> None:
    """The scan had been there before."""

    class PluggedInMeanwhile:
        """Sees processes, and a vCPU in the first scan that comes after it was there."""

        def kvm_descriptors(self, pid: int) -> KvmDescriptors:
            return tree.procfs.kvm_descriptors(pid)

        def kvm_processes(self) -> KvmProcesses:
            found = tree.procfs.kvm_processes()
            plugged = tree.root / "10" / "fd" / "99"
            if not plugged.is_symlink():
                plugged.symlink_to("anon_inode:kvm-vcpu:1")
                inventory.meet(10)
            return found

    tree.process(10, [QEMU, "-name", "web"], vcpus=1)
    inventory = Inventory(tree.procfs, PluggedInMeanwhile())
    inventory.refresh()
    assert [vm.vcpus for vm in inventory.vms()] == [2]
    (tree.root / "10" / "fd" / "99").unlink()
    inventory.refresh()
    inventory.refresh()
    assert [vm.vcpus for vm in inventory.vms()] == [2]


def test_a_vcpu_that_is_met_while_another_thread_identifies(tree: ProcfsTree) -> None:
    """Whoever counted later has the last word."""

    class PluggedInMeanwhile:
        """Counts, and sees a vCPU plugged in and met before that is told."""

        def kvm_descriptors(self, pid: int) -> KvmDescriptors:
            found = tree.procfs.kvm_descriptors(pid)
            plugged = tree.root / "10" / "fd" / "99"
            if not plugged.is_symlink():
                plugged.symlink_to("anon_inode:kvm-vcpu:1")
                inventory.meet(10)
            return found

        def kvm_processes(self) -> KvmProcesses:
            return KvmProcesses({}, is_complete=True)

    tree.process(10, [QEMU, "-name", "web"], vcpus=1)
    inventory = Inventory(tree.procfs, PluggedInMeanwhile())
    assert inventory.identify(10)
    assert [vm.vcpus for vm in inventory.vms()] == [2]


def test_what_was_seen_stays_where_it_may_not_be_seen_any_more(tree: ProcfsTree) -> None:
    """Who opens what others hold may be gone; a vCPU that is met then takes nothing away."""

    class Once:
        """Sees processes until it may not."""

        may = True

        def kvm_descriptors(self, pid: int) -> KvmDescriptors:
            raise PermissionError(pid)

        def kvm_processes(self) -> KvmProcesses:
            return tree.procfs.kvm_processes()

    tree.process(10, [QEMU, "-name", "web"], vcpus=3)
    inventory = Inventory(tree.procfs, Once())
    inventory.refresh()
    inventory.meet(10)
    assert [vm.vcpus for vm in inventory.vms()] == [3]


def test_a_process_that_shows_the_same_is_described_once(tree: ProcfsTree) -> None:
    """With hundreds of VMs, reading their command lines anew is most of what looking takes."""
    line = [QEMU, "-name", "web", "-m", "2G"]
    tree.process(10, line, vcpus=4)
    inventory = refreshed(tree)
    (before,) = inventory.vms()
    inventory.refresh()
    assert inventory.vms()[0].posture is before.posture
    tree.process(10, line, vcpus=5)
    inventory.refresh()
    assert [(vm.name, vm.vcpus) for vm in inventory.vms()] == [("web", 5)]
    tree.process(10, [*line[:2], "db"], vcpus=5)
    inventory.refresh()
    assert names(inventory) == ["db"]


def test_the_memory_of_a_vm_s_process(tree: ProcfsTree) -> None:
    """As it was seen last; unknown of one that is gone, or that never was, also by its number."""
    page = tree.procfs.page_size
    tree.process(10, [QEMU, "-name", "old"], start_ticks=100, resident_pages=1009)
    inventory = refreshed(tree)
    (old,) = inventory.vms()
    assert inventory.resident_bytes(old.id) == 1009 * page
    tree.process(10, [QEMU, "-name", "new"], start_ticks=200, resident_pages=1013)
    inventory.refresh()
    (new,) = inventory.vms()
    assert inventory.resident_bytes(old.id) is None
    assert inventory.resident_bytes(new.id) == 1013 * page
    tree.end(10)
    assert inventory.vms() == ()
    assert inventory.resident_bytes(new.id) is None


def test_what_a_monitor_said_of_its_release(tree: ProcfsTree) -> None:
    """It stays with the VM, and is no other's that has its number later."""
    tree.process(10, [QEMU, "-name", "web"], start_ticks=100)
    inventory = refreshed(tree)
    (vm,) = inventory.vms()
    inventory.learn_version(vm.id, "7.2.11")
    inventory.learn_version(VmId(vm.id.start_ns + 1, 10), "8.0.0")
    inventory.learn_version(VmId(5, 11), "9.0.0")
    inventory.refresh()
    assert [vm.version for vm in inventory.vms()] == ["7.2.11"]
    inventory.learn_version(vm.id, "7.2.12")
    assert [vm.version for vm in inventory.vms()] == ["7.2.12"]
    tree.process(10, [QEMU, "-name", "web"], start_ticks=200)
    inventory.refresh()
    assert [vm.version for vm in inventory.vms()] == [""]


def test_a_refresh_keeps_what_only_bpf_has_seen(tree: ProcfsTree) -> None:
    """Its descriptors may not be visible."""
    inventory = refreshed(tree)
    tree.process(10, [QEMU, "-name", "web"], vms=0, vcpus=0)
    assert inventory.identify(10)
    inventory.refresh()
    assert names(inventory) == ["web"]


def test_descriptors_that_may_not_be_seen() -> None:
    """The number of vCPUs is not known then, and not zero."""
    assert describe(VmId(1, 10), [QEMU], None).vcpus is None
    assert describe(VmId(1, 10), ["kvmtool"], None).vcpus is None


def test_a_process_without_arguments_is_no_vm(tree: ProcfsTree) -> None:
    """A zombie is none any more."""
    inventory = refreshed(tree)
    tree.process(10, ())
    assert inventory.identify(10) is None


SYSTEM_UUID = "09fdb975-bcc6-4202-9bba-a29765b305e4"


def with_libvirt(tree: ProcfsTree, run: Path) -> Inventory:
    """An inventory where the system's libvirt runs process 234."""
    directory = run / "libvirt" / "qemu"
    directory.mkdir(parents=True)
    shutil.copy(RECORDINGS / "system.xml", directory)
    return Inventory(tree.procfs, libvirt=Libvirt(run, os.geteuid(), monotonic=lambda: 1000.0))


def test_what_libvirt_runs(tree: ProcfsTree, tmp_path: Path) -> None:
    """Its name, uuid and machine are libvirt's, by a scan as by a first look; so is its monitor."""
    monitor = "/srv/elsewhere/monitor.sock"
    inventory = with_libvirt(tree, tmp_path / "run")
    file = tmp_path / "run" / "libvirt" / "qemu" / "system.xml"
    text = file.read_text()
    file.write_text(text.replace("/var/lib/libvirt/qemu/domain-1-rich/monitor.sock", monitor))
    sockets = ("-qmp", f"unix:{monitor},server=on", "-qmp", "unix:/srv/own.sock,server=on")
    tree.process(234, [QEMU, "-name", "guest=other", "-uuid", SYSTEM_UUID.upper(), *sockets])
    assert inventory.identify(234)
    (met,) = inventory.vms()
    inventory.refresh()
    (vm,) = inventory.vms()
    assert met == vm
    assert (vm.name, vm.uuid, vm.identified_by) == ("rich", SYSTEM_UUID, "libvirt")
    assert vm.machine == "pc-i440fx-7.2"
    assert vm.memory_max_bytes == 192 << 20
    assert vm.qmp_sockets == ("/srv/own.sock",)
    assert vm.libvirt_at == 1000.0
    assert vm.libvirt
    assert vm.libvirt.by_alias()["net0"].is_vhost


def test_a_number_that_is_another_s_now(tree: ProcfsTree, tmp_path: Path) -> None:
    """Where libvirt has not seen its domain end, what runs there is not called after it."""
    tree.process(234, [QEMU, "-name", "new", "-uuid", "0" * 8 + SYSTEM_UUID[8:]])
    inventory = with_libvirt(tree, tmp_path / "run")
    inventory.refresh()
    (vm,) = inventory.vms()
    assert (vm.name, vm.identified_by, vm.libvirt) == ("new", "qemu", None)


def test_a_user_s_domain(tree: ProcfsTree, tmp_path: Path) -> None:
    """Of a process that runs as that user; nobody names another's."""
    run = tmp_path / "run" / "user" / str(os.geteuid()) / "libvirt" / "qemu" / "run"
    run.mkdir(parents=True)
    shutil.copy(RECORDINGS / "session.xml", run)
    inventory = Inventory(tree.procfs, libvirt=Libvirt(tmp_path / "run", os.geteuid()))
    for uid, name in ((os.geteuid(), "sess"), (os.geteuid() + 1, "mine")):
        tree.process(312, [QEMU, "-name", "mine"])
        (tree.root / "312" / "status").write_text(f"Name:\tqemu\nUid:\t0\t{uid}\t0\t0\n")
        inventory.refresh()
        assert names(inventory) == [name]
