# SPDX-License-Identifier: Apache-2.0
"""How options are made, and those of every command that samples."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from kvmexporter import logs
from kvmexporter.cli import configfile, values
from kvmexporter.model.role import ROLES
from kvmexporter.registry import COLLECTORS

F = TypeVar("F", bound=Callable[..., Any])


def option(flag: str, *more: str, **attributes: Any) -> Callable[[F], F]:
    """A click option whose value may also come from `KVMEXPORTER_` and its name."""
    name = option_name(flag.partition("/")[0])
    return click.option(
        flag, name, *more, envvar=f"KVMEXPORTER_{name.upper()}", show_envvar=True, **attributes
    )


def option_name(flag: str) -> str:
    """The parameter that a flag sets."""
    return flag.lstrip("-").replace(".", "_").replace("-", "_")


def shared_options(command: F) -> F:
    """Options of every command that samples."""
    for kind in reversed(COLLECTORS):
        for extra, what in reversed(kind.extras.items()):
            name = f"collector.{kind.name}.{extra}"
            command = option(f"--{name}/--no-{name}", default=False, show_default=True, help=what)(
                command
            )
        flag = f"--collector.{kind.name}/--no-collector.{kind.name}"
        command = option(
            flag,
            default=None,
            help=f"{kind.summary[0].upper()}{kind.summary[1:]}. "
            f"[default: {'on' if kind.default else 'off'}]",
        )(command)
    for decorate in (
        option("--config.file", type=click.Path(), default=None, is_eager=True,
               expose_value=False, callback=configfile.take,
               help="A TOML file with what no flag and no variable says. "
                    f"[default: {configfile.DEFAULT_PATH}, if it is there]"),
        option("--log.format", type=click.Choice(logs.FORMATS), default="logfmt",
                help="How log lines are written.", show_default=True),
        option("--log.level", type=click.Choice(logs.LEVELS), default="info",
                help="The least severe messages to log.", show_default=True),
        option("--bpf.max-vcpus", type=click.IntRange(1, 1 << 20), default=16384,
                help="vCPU threads that can be counted at once.", show_default=True),
        option("--bpf.kernel-headers", type=click.Path(exists=True, file_okay=False), default=None,
                help="A tree of kernel headers, of any version. [default: look for one]"),
        option("--bpf.python", type=values.Parsed(values.interpreter), default=None,
                help="An interpreter that has bcc. [default: this one, then /usr/bin/python3]"),
        option("--ignore", multiple=True, metavar="RULE[:VM]", type=values.Parsed(values.ignored),
                help="A finding that is not to be told or counted, of one VM or of all; may be "
                "repeated."),
        option("--metrics.all/--no-metrics.all", default=False, show_default=True,
                help="Serve everything that the --collector.*.* flags add, but for per-vcpu: "
                "hundreds of series a VM instead of at most 150."),
        option("--role", type=click.Choice(ROLES), default="auto", show_default=True,
                help="Whether to look at this system's clocks as a KVM host's or a guest's."),
        option("--balloon.interval", type=click.FloatRange(1, 3600), default=None,
                metavar="SECONDS",
                help="How often VMMs are asked for their balloons; one that is on its way to its "
                "target is asked for every five seconds at least. "
                "[default: 15; less often where there are many VMs]"),
        option("--balloon.set-polling", type=click.IntRange(1, 86400), default=None,
                metavar="SECONDS",
                help="Have guests asked for their memory statistics this often where nobody asks "
                "for them. Changes the VM. [default: change nothing]"),
        option("--guest-agent/--no-guest-agent", default=False, show_default=True,
                help="Ask each VM's guest agent for its time, every 30 seconds at most."),
        option("--libvirt.monitor/--no-libvirt.monitor", default=False, show_default=True,
                help="Ask the VMs of the system's libvirt about their devices, through virsh. "
                "libvirt then marks them as tainted (custom-monitor)."),
        option("--bpf/--no-bpf", default=True,
                help="Whether to attach BPF programs at all.", show_default=True),
    ):  # fmt: skip
        command = decorate(command)
    return command
