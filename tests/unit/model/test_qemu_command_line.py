# SPDX-License-Identifier: Apache-2.0
"""QEMU's command lines: every form of what says who the VM is."""

import pytest

from kvmexporter.model.qemu_command_line import QemuCommandLine, is_qemu, options, parse

MIB, GIB = 1 << 20, 1 << 30


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("/usr/bin/qemu-system-x86_64", True),
        ("qemu-system-aarch64", True),
        ("/usr/libexec/qemu-kvm", True),
        ("/usr/bin/kvm", True),
        ("/usr/bin/qemu-img", False),
        ("/opt/qemu-system-x86_64/bin/firecracker", False),
        ("kvmtool", False),
        ("", False),
    ],
)
def test_who_is_qemu(program: str, expected: bool) -> None:
    """The program's own name tells, not its directory."""
    assert is_qemu([program, "-name", "x"]) is expected


def test_no_arguments_are_no_qemu() -> None:
    """A process without a command line is nobody."""
    assert not is_qemu([])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {"guest": ""}),
        ("x", {"guest": "x"}),
        ("guest=x", {"guest": "x"}),
        ("x,debug-threads=on", {"guest": "x", "debug-threads": "on"}),
        ("guest=a,,b,process=c", {"guest": "a,b", "process": "c"}),
        ("a,,,,b", {"guest": "a,,b"}),
        ("a,,,b", {"guest": "a,", "b": "on"}),
        ("guest=a=b", {"guest": "a=b"}),
        ("debug-threads=on", {"debug-threads": "on"}),
        ("x,debug-threads", {"guest": "x", "debug-threads": "on"}),
        ("guest=a,guest=b", {"guest": "b"}),
    ],
)
def test_options(text: str, expected: dict[str, str]) -> None:
    """Commas within a value are written twice; the first key may be left out."""
    assert options(text, "guest") == expected


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ("-name x", "x"),
        ("--name x", "x"),
        ("-name guest=a,,b,debug-threads=on", "a,b"),
        ("-name guest=x,debug-threads=on -S", "x"),
        ("-name debug-threads=on,guest=y", "y"),
        ("-name debug-threads=on", ""),
        ("-name x -name y", "y"),
        ("-name x -name debug-threads=on", "x"),
        ("-nodefaults -name", ""),
        ("-nodefaults", ""),
        ("---name x", ""),
        ("-names x", ""),
        ("name x", ""),
    ],
)
def test_name(arguments: str, name: str) -> None:
    """All forms of -name."""
    assert parse(["qemu-system-x86_64", *arguments.split()]).name == name


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("512", 512 * MIB),
        ("512M", 512 * MIB),
        ("512m", 512 * MIB),
        ("1024k", MIB),
        ("2G", 2 * GIB),
        ("1T", 1024 * GIB),
        ("65536b", 65536),
        ("size=2G,maxmem=4G", 2 * GIB),
        ("2G,slots=2,maxmem=4G", 2 * GIB),
        ("maxmem=4G,size=1G", GIB),
        ("maxmem=4G", None),
        ("", None),
        ("0", 0),
        ("garbage", None),
        ("size=", None),
        ("-1", None),
        ("1.5G", None),
        ("2 G", None),
        ("2GG", None),
        ("9" * 10_000, None),
    ],
)
def test_memory(value: str, size: int | None) -> None:
    """All forms of -m; nothing that cannot be understood becomes a number."""
    assert parse(["qemu-system-x86_64", "-m", value]).memory_bytes == size


def test_the_rest() -> None:
    """The other options, as libvirt writes them."""
    arguments = [
        *("/usr/bin/qemu-system-x86_64", "-name", "guest=web,debug-threads=on", "-S"),
        *("-object", '{"qom-type":"secret","id":"masterKey0"}'),
        *("-machine", "pc-q35-7.2,accel=kvm,usb=off", "-accel", "kvm"),
        *("-cpu", "host,migratable=off", "-m", "size=2097152k"),
        *("-uuid", "12345678-1234-1234-1234-123456789abc", "-no-user-config"),
    ]
    assert parse(arguments) == QemuCommandLine(
        name="web",
        uuid="12345678-1234-1234-1234-123456789abc",
        machine="pc-q35-7.2",
        cpu_model="host",
        memory_bytes=2 * GIB,
    )


@pytest.mark.parametrize(
    ("arguments", "machine"),
    [
        ("-M q35", "q35"),
        ("--machine q35", "q35"),
        ("-machine accel=kvm,type=pc", "pc"),
        ("-machine q35 -machine accel=kvm", "q35"),
        ("-machine accel=kvm", ""),
        ("-machine", ""),
    ],
)
def test_machine(arguments: str, machine: str) -> None:
    """The machine's type, wherever it is said."""
    assert parse(["qemu-system-x86_64", *arguments.split()]).machine == machine


@pytest.mark.parametrize(
    ("arguments", "cpu_model"), [("-cpu max", "max"), ("-cpu", ""), ("-cpu ,+vmx", "")]
)
def test_cpu_model(arguments: str, cpu_model: str) -> None:
    """The model without its flags."""
    assert parse(["qemu-system-x86_64", *arguments.split()]).cpu_model == cpu_model


@pytest.mark.parametrize("arguments", [[], ["qemu-system-x86_64"], ["", "", ""]])
def test_nothing_said(arguments: list[str]) -> None:
    """A command line that says nothing is no error."""
    assert parse(arguments) == QemuCommandLine()


def test_a_value_is_no_option() -> None:
    """A VM that is called like an option does not pass for it."""
    line = parse(["qemu-system-x86_64", "-name", "-uuid", "-m", "1G"])
    assert (line.name, line.uuid, line.memory_bytes) == ("-uuid", "", GIB)


def test_a_second_m_without_a_size_keeps_the_first() -> None:
    """QEMU merges repeated -m, as it does -name and -machine."""
    line = parse(["qemu-system-x86_64", "-m", "2G", "-m", "maxmem=4G,slots=2"])
    assert line.memory_bytes == 2 * GIB


AGENT = "-device virtserialport,chardev=agent0,name=org.qemu.guest_agent.0"


@pytest.mark.parametrize(
    ("arguments", "path"),
    [
        (f"-chardev socket,id=agent0,path=/run/a.sock,server=on {AGENT}", "/run/a.sock"),
        (f"{AGENT},bus=x.0 -chardev socket,path=a,,b,id=agent0", "a,b"),
        (f"-chardev socket,id=other,path=/run/a.sock {AGENT}", ""),
        (f"-chardev pty,id=agent0 {AGENT}", ""),
        (f"-chardev socket,id=agent0,path=/run/libvirt/qemu/channel/target/a {AGENT}", ""),
        ("-chardev socket,id=c,path=/x -device virtserialport,chardev=c,name=other.0", ""),
        (AGENT, ""),
    ],
)  # fmt: skip
def test_agent_socket(arguments: str, path: str) -> None:
    """The socket behind the agent's port; libvirt's own channel is its own."""
    assert parse(["qemu-system-x86_64", *arguments.split()]).agent_socket == path
