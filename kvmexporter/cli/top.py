# SPDX-License-Identifier: Apache-2.0
"""`kvmexporter top`."""

import contextlib
import os
import sys
from typing import Any

import click

from kvmexporter.cli.options import option, shared_options
from kvmexporter.cli.session import session
from kvmexporter.housekeeping import Housekeeping

_REFRESH_SECONDS = 5.0


@click.command()
@option("--interval", type=click.FloatRange(0.1, 3600), default=2.0, show_default=True,
        help="Seconds between two samples.")  # fmt: skip
@option("--once/--no-once", default=False, show_default=True,
        help="Print one round as plain text and end.")  # fmt: skip
@shared_options
def top(interval: float, once: bool, **shared: Any) -> None:
    """Watch VMs live: a screen on a terminal, plain text elsewhere."""
    from rich.console import Console

    from kvmexporter.views.top import keys, live

    is_screen = not once and sys.stdin.isatty() and sys.stdout.isatty()
    # A screen has no place for log lines.
    shared["log_level"] = "error"
    # The key v asks for them; nobody scrapes this.
    shared["collector_exits_per_vcpu"] = True
    with session(shared) as (sources, sampler):
        housekeeping = Housekeeping(sampler, sources.inventory.refresh, _REFRESH_SECONDS)
        housekeeping.start()
        try:
            watch = live.Watch(sampler.snapshot, interval)
            if is_screen:
                with keys.Keyboard(sys.stdin.fileno()) as keyboard:
                    live.run(watch, Console(highlight=False), keyboard)
            else:
                _print(watch, once)
        finally:
            housekeeping.close()


def _print(watch: Any, once: bool) -> None:
    from kvmexporter.views.top import live

    try:
        live.print_plainly(watch, sys.stdout, 1 if once else None)
    except BrokenPipeError:
        # Python would complain once more when it flushes at its end.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
