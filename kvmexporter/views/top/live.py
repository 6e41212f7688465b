# SPDX-License-Identifier: Apache-2.0
"""Samples, draws and obeys keys until it is told to end; or prints, where nobody sees a screen."""

import time
from collections.abc import Callable
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live

from kvmexporter.sampler import Snapshot
from kvmexporter.views import activity, report, text
from kvmexporter.views.activity import activities
from kvmexporter.views.history import History
from kvmexporter.views.report import Table
from kvmexporter.views.top import screen
from kvmexporter.views.top.keys import Keyboard
from kvmexporter.views.top.screen import Seen
from kvmexporter.views.top.state import State, listed, press

_FIRST_SECONDS = 0.5
_MOST_PATHS = 20


class Watch:
    """The samples that the view is made of.

    Args:
        sample: takes a snapshot.
        interval: seconds between two.
    """

    def __init__(self, sample: Callable[[], Snapshot], interval: float) -> None:
        self._sample = sample
        self.interval = interval
        self._past = History(min(interval, 1.0))
        self._latest = sample()
        self._past.observe(self._latest)
        self.seen = self._of(self._latest, None)

    def look(self) -> None:
        """Take a new sample."""
        earlier, self._latest = self._latest, self._sample()
        self._past.observe(self._latest)
        self.seen = self._of(self._latest, earlier)

    def _of(self, snapshot: Snapshot, earlier: Snapshot | None) -> Seen:
        return Seen(snapshot, activities(snapshot, earlier), self._past, self.interval)


def run(watch: Watch, console: Console, keyboard: Keyboard) -> None:
    """Show the view on the console's screen until a key ends it."""
    state = State()
    # Nobody has rates to show before the second look.
    time.sleep(min(watch.interval, _FIRST_SECONDS))
    watch.look()
    due = time.monotonic() + watch.interval
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while not state.is_over:
            console.size = width, height = keyboard.size()
            lines, state = screen.draw(state, watch.seen, width, height)
            live.update(Group(*lines), refresh=True)
            for key in keyboard.wait(due - time.monotonic()):
                shown = listed(state, watch.seen.done)
                state = press(state, key, shown, screen.page(height))
            if time.monotonic() >= due:
                due = time.monotonic() + watch.interval
                if not state.is_paused:
                    watch.look()


def print_plainly(watch: Watch, file: TextIO, rounds: int | None) -> None:
    """Print what there is, round by round.

    Args:
        watch: the samples.
        file: where to.
        rounds: how many; None: until the reader is gone.
    """
    done = 0
    while rounds is None or done < rounds:
        time.sleep(watch.interval)
        watch.look()
        file.write(plain(watch.seen))
        file.flush()
        done += 1


def plain(seen: Seen) -> str:
    """A round: the clock, the VMs, the hottest paths."""
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seen.snapshot.time))
    lines = [f"{when}  {screen.clock(seen.snapshot).plain}"]
    if seen.done:
        lines += _lines(report.overview(seen.done))
        if notes := screen.notes(seen.done, text.WIDTH):
            lines += [*notes, ""]
        paths = sorted(
            ((one.vm.name, path, one.seconds) for one in seen.done for path in one.io),
            key=lambda item: (-item[1].total, item[0], item[1].name),
        )[:_MOST_PATHS]
        rows = tuple(
            (vm, path.name, path.path, f"{path.total / (seconds or 1):,.1f}",
             f"{path.userspace / (seconds or 1):,.1f}")
            for vm, path, seconds in paths
        )  # fmt: skip
        lines += _lines(Table(("VM", "device", "path", "I/O/s ", "to VMM/s "), rows))
    else:
        lines += [activity.without_vms(seen.snapshot), ""]
    return "".join(f"{line}\n" for line in lines)


def _lines(table: Table) -> list[str]:
    return [line.plain for line in screen.table_lines(table, text.WIDTH)]
