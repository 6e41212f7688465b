# SPDX-License-Identifier: Apache-2.0
"""The identity in the command lines of VMMs other than QEMU."""

import shlex

import pytest

from kvmexporter.model.vmm_command_line import VmmIdentity, identify

_SANDBOX = "1f2a9c0d7b3e4f58a6c1d2e3f4a5b6c71f2a9c0d7b3e4f58a6c1d2e3f4a5b6c7"
_UUID = "9a3e7b52-4c1d-4e8f-b0a6-5d2c7f1e8b94"
_MIB = 1 << 20
_GIB = 1 << 30

_CLOUD_HYPERVISOR = {
    "by hand": (
        "cloud-hypervisor --api-socket /run/vms/web1.sock --kernel /srv/vmlinux"
        " --disk path=/srv/web1.raw,image_type=raw path=/srv/seed.img,readonly=on"
        " --cmdline 'console=hvc0 root=/dev/vda1 rw' --cpus boot=4,max=8 --memory size=1024M"
        f" --net tap=tap0,mac=12:34:56:78:90:ab --platform uuid={_UUID},num_pci_segments=2",
        VmmIdentity("cloud-hypervisor", "web1", _UUID, 4, 1024 * _MIB),
    ),
    "libvirt": (
        "/usr/bin/cloud-hypervisor --api-socket fd=23"
        " --event-monitor path=/run/libvirt/ch/debian12-event-monitor-fifo",
        VmmIdentity("cloud-hypervisor", "debian12"),
    ),
    "libvirt before it passed the socket": (
        "/usr/bin/cloud-hypervisor --api-socket /run/libvirt/ch/build-2-socket",
        VmmIdentity("cloud-hypervisor", "build-2"),
    ),
    "Kata Containers": (
        f"/opt/kata/bin/cloud-hypervisor --api-socket /run/vc/vm/{_SANDBOX}/clh-api.sock",
        VmmIdentity("cloud-hypervisor", _SANDBOX),
    ),
    "zones, and all options joined": (
        "cloud-hypervisor-static --api-socket=path=/run/microvms/db0/api.sock --memory=size=0"
        " --memory-zone id=mem0,size=1G,host_numa_node=0 id=mem1,size=512M"
        " --memory-zone=id=mem2,size=1048576 --cpus boot=2,affinity=[0@[0,1],1@[2,3]],max=3",
        VmmIdentity("cloud-hypervisor", "db0", vcpus=2, memory_bytes=_GIB + 512 * _MIB + 1048576),
    ),
    "sizes in bytes, hotplug beside": (
        "cloud-hypervisor --cpus boot=1 --memory size=536870912,hotplug_size=8G",
        VmmIdentity("cloud-hypervisor", vcpus=1, memory_bytes=512 * _MIB),
    ),
    "a socket that is nobody's": (
        "cloud-hypervisor --api-socket /tmp/cloud-hypervisor.sock --firmware /srv/CLOUDHV.fd",
        VmmIdentity("cloud-hypervisor"),
    ),
    "a user's socket": (
        "cloud-hypervisor --api-socket path=/run/user/1000/ch.sock",
        VmmIdentity("cloud-hypervisor"),
    ),
    "a zone whose size is no size": (
        "cloud-hypervisor --memory size=0 --memory-zone id=a,size=1G id=b,size=many",
        VmmIdentity("cloud-hypervisor"),
    ),
    "quoted commas": (
        f"cloud-hypervisor --platform 'oem_strings=[\"a,uuid=fake\"],uuid={_UUID}'",
        VmmIdentity("cloud-hypervisor", uuid=_UUID),
    ),
}

_FIRECRACKER = {
    "jailed": (
        "/firecracker --id 551e7604-e35c-42b3-b825-416853441234 --start-time-us 3163401"
        " --start-time-cpu-us 1206 --parent-cpu-time-us 9033 --config-file vm.json",
        VmmIdentity("firecracker", "551e7604-e35c-42b3-b825-416853441234"),
    ),
    "jailed by an old jailer, under a release's name": (
        "/firecracker-v1.7.0-x86_64 --id=fn-17 --start-time-us=3163401 --api-sock /run/fc.socket",
        VmmIdentity("firecracker", "fn-17"),
    ),
    "without an id": (
        "./firecracker --api-sock /tmp/firecracker.socket",
        VmmIdentity("firecracker"),
    ),
    "with the id it has without one": (
        "firecracker --no-api --id anonymous-instance --config-file vm.json",
        VmmIdentity("firecracker"),
    ),
}

_CROSVM = {
    "plain numbers": (
        "/usr/bin/crosvm --no-syslog run --disable-sandbox --cpus 2 --mem 512 --name penguin"
        " --socket /run/vm/penguin.sock --params 'root=/dev/vda rw' /opt/vm/vmlinux",
        VmmIdentity("crosvm", "penguin", vcpus=2, memory_bytes=512 * _MIB),
    ),
    "keys": (
        "crosvm --log-level=debug run --mem size=4096 --name=arcvm"
        " --cpus clusters=[[0,1],[2,3]],num-cores=4 vmlinux",
        VmmIdentity("crosvm", "arcvm", vcpus=4, memory_bytes=4096 * _MIB),
    ),
    "short options": (
        "crosvm run -c 1 -m=256 -b rootfs.img,root -s /tmp/vm.sock vmlinux",
        VmmIdentity("crosvm", vcpus=1, memory_bytes=256 * _MIB),
    ),
    "the kernel after a name": (
        "crosvm run --name test /boot/vmlinux",
        VmmIdentity("crosvm", "test"),
    ),
}

_KVMTOOL = {
    "short options": (
        "lkvm run -k bzImage -d rootfs.img -c 3 -m 384 --name crash-test -p 'console=ttyS0'",
        VmmIdentity("kvmtool", "crash-test", vcpus=3, memory_bytes=384 * _MIB),
    ),
    "values joined to options": (
        "./lkvm-static run -c2 -m1G --name=small Image",
        VmmIdentity("kvmtool", "small", vcpus=2, memory_bytes=_GIB),
    ),
    "long options": (
        "/usr/local/bin/lkvm run --kernel Image --cpus 4 --mem 2048M --network mode=user",
        VmmIdentity("kvmtool", vcpus=4, memory_bytes=2 * _GIB),
    ),
    "the network is no name": (
        "lkvm run -n virtio --irqchip gicv3 Image",
        VmmIdentity("kvmtool"),
    ),
}


@pytest.mark.parametrize(
    ("command_line", "identity"),
    [
        pytest.param(*case, id=name)
        for cases in (_CLOUD_HYPERVISOR, _FIRECRACKER, _CROSVM, _KVMTOOL)
        for name, case in cases.items()
    ],
)
def test_a_command_line_yields_its_vm(command_line: str, identity: VmmIdentity) -> None:
    """What is in the arguments comes out, and nothing that is not."""
    assert identify(shlex.split(command_line)) == identity


@pytest.mark.parametrize(
    "command_line",
    [
        "",
        "qemu-system-x86_64 -name guest=a -m 512",
        "/usr/sbin/firecrackers --id a",
        "crosvmctl run --name a",
        "python3 lkvm run --name a",
        "jailer --id a --exec-file /usr/bin/firecracker --uid 100 --gid 100",
    ],
)
def test_other_programs_are_no_vmm(command_line: str) -> None:
    """Only the program itself counts, whatever its arguments look like."""
    assert identify(shlex.split(command_line)) is None


@pytest.mark.parametrize(
    ("arguments", "identity"),
    [
        (["lkvm", "run", "--name"], VmmIdentity("kvmtool")),
        (["lkvm", "run", "-c", "-m", "64"], VmmIdentity("kvmtool", memory_bytes=64 * _MIB)),
        (["lkvm", "run", "-c", "²", "-m", "٣"], VmmIdentity("kvmtool")),
        (["lkvm", "run", "-c", "-1", "-m", "-1"], VmmIdentity("kvmtool")),
        (["lkvm", "run", "-c", "9" * 5000, "-m", "9" * 5000 + "P"], VmmIdentity("kvmtool")),
        (["lkvm", "run", "--name", "a", "--name", "b"], VmmIdentity("kvmtool", "b")),
        (["lkvm", "run", "--name", "\x1b[31m\n"], VmmIdentity("kvmtool", "\x1b[31m\n")),
        (["cloud-hypervisor", "--api-socket", ""], VmmIdentity("cloud-hypervisor")),
        (["cloud-hypervisor", "--api-socket", "/"], VmmIdentity("cloud-hypervisor")),
        (["cloud-hypervisor", "--cpus", "]],boot=2"], VmmIdentity("cloud-hypervisor", vcpus=2)),
        (["cloud-hypervisor", "--cpus", "[[,boot=2"], VmmIdentity("cloud-hypervisor")),
        (["cloud-hypervisor", "--memory", "size="], VmmIdentity("cloud-hypervisor")),
    ],
)
def test_what_a_tenant_makes_up_is_harmless(arguments: list[str], identity: VmmIdentity) -> None:
    """Options without values, numbers that are none and endless ones are as if not given."""
    assert identify(arguments) == identity
