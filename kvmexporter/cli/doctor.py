# SPDX-License-Identifier: Apache-2.0
"""`kvmexporter doctor`."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from kvmexporter.cli.options import option, shared_options
from kvmexporter.cli.session import session
from kvmexporter.diagnosis import examine
from kvmexporter.model import needs
from kvmexporter.needs import Place
from kvmexporter.registry import COLLECTORS

_VISITS_SECONDS = 5.0
_CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv", "/run/systemd/container")
_KUBERNETES = "KUBERNETES_SERVICE_HOST"


@click.command()
@option("--format", type=click.Choice(["text", "json"]), default="text", show_default=True,
        help="How to print it.")  # fmt: skip
@option("--platform", type=click.Choice(needs.PLATFORMS), default=None,
        help="Whose remedies to print. [default: this system's]")  # fmt: skip
@shared_options
def doctor(
    format: str,  # noqa: A002 - the flag's name
    platform: str | None,
    **shared: Any,
) -> int:
    """Check what each collector needs here, and say what would mend it.

    Exits with 1 if a collector or BPF was asked for by its flag and cannot work.
    """
    from kvmexporter.views import doctor as view
    from kvmexporter.views.activity import activities

    shared["log_level"] = "error"
    asked = [kind.name for kind in COLLECTORS if shared[f"collector_{kind.name}"]]
    kinds = [kind for kind in COLLECTORS if shared[f"collector_{kind.name}"] is not False]
    for kind in kinds:
        shared[f"collector_{kind.name}"] = True
    with session(shared) as (sources, sampler):
        sources.addressing.settle(_VISITS_SECONDS)
        if sources.agents:
            sources.agents.settle(_VISITS_SECONDS)
        snapshot = sampler.snapshot()
        place = Place(
            sources.probes,
            snapshot.vms,
            sources.addressing.known(),
            sources.system,
            pythons=_pythons(shared["bpf_python"]),
            headers=shared["bpf_kernel_headers"],
            agents=sources.agents,
            libvirt_monitor=shared["libvirt_monitor"],
            sees_all_vms=snapshot.sees_all_vms,
            unannounced=any(one.is_least for one in activities(snapshot)),
        )
        if shared["bpf_python"] or shared["bpf_kernel_headers"]:
            asked += [kind.name for kind in kinds if kind.needs_bpf]
        found = examine(kinds, snapshot.statuses, place, platform or _platform(), asked)
    click.echo(view.render_json(found) if format == "json" else view.render(found).rstrip())
    return 1 if found.failed else 0


def _pythons(asked: str | None) -> tuple[str, ...]:
    return (asked,) if asked else (sys.executable, "/usr/bin/python3")


def _platform() -> str:
    try:
        release = Path("/etc/os-release").read_text()
    except OSError:
        release = ""
    marks = any(Path(mark).exists() for mark in _CONTAINER_MARKS)
    is_container = marks or _KUBERNETES in os.environ
    return needs.platform(release, Path("/etc/pve").is_dir(), is_container)
