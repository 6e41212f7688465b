# SPDX-License-Identifier: Apache-2.0
"""The loop: on a real terminal, and where there is none."""

import io
import os
import pty
import threading
import time
from collections.abc import Callable
from dataclasses import replace

from rich.console import Console

from kvmexporter.model.exits import UNANNOUNCED
from kvmexporter.model.vm import SEEING, UNSEEN
from kvmexporter.sampler import Snapshot
from kvmexporter.views.top.keys import Keyboard
from kvmexporter.views.top.live import Watch, plain, print_plainly, run
from tests.unit.snapshots import snapshot, status, vm
from tests.unit.views.samples import everything


def growing() -> Callable[[], Snapshot]:
    """A host where a second passes, and everything happens once more, at every look."""
    taken: list[int] = []

    def sample() -> Snapshot:
        taken.append(1)
        return everything(len(taken), 100.0 + len(taken))

    return sample


def test_plain_rounds() -> None:
    """Rates of what happened between two looks."""
    out = io.StringIO()
    print_plainly(Watch(growing(), 0.01), out, 2)
    lines = out.getvalue().splitlines()
    assert len([line for line in lines if "clock: hpet" in line]) == 2
    web = [line.split() for line in lines if line.startswith("web  ") and "qemu" in line]
    assert [row[4:7] for row in web] == [["100.0", "94.0", "61.0"]] * 2
    assert len([line for line in lines if line.startswith("web  ") and "net0" in line]) == 2


def test_plain_footnote() -> None:
    """Says what the sign before a number means, and why there is none."""
    assert f"≥: {UNANNOUNCED}" in " ".join(plain(Watch(growing(), 1.0).seen).split())
    uncounted = snapshot(vms=[vm("web")], statuses=[status("vms")])
    assert "\nexits are not counted: the collector exits is off\n" in plain(
        Watch(lambda: uncounted, 1.0).seen
    )


def test_plain_without_a_vm() -> None:
    """Says so; where others' VMs cannot be seen, that."""
    assert "No VM runs on this host." in plain(Watch(snapshot, 1.0).seen)
    blind = replace(snapshot(), sees_all_vms=False)
    assert f"No{UNSEEN[2:]}: {SEEING}." in plain(Watch(lambda: blind, 1.0).seen)


def test_keys_are_obeyed_and_the_screen_is_given_back() -> None:
    """Paused, nothing is sampled; q ends it."""
    typist, program = pty.openpty()
    sample = growing()
    watch = Watch(sample, 0.05)
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, height=24, highlight=False)

    def type_slowly() -> None:
        time.sleep(0.3)
        for key in (b"\r", b"\x1b", b"p", b"q"):
            time.sleep(0.2)
            os.write(typist, key)

    typing = threading.Thread(target=type_slowly)
    with Keyboard(program) as keyboard:
        typing.start()
        run(watch, console, keyboard)
    typing.join()
    os.close(typist)
    os.close(program)
    drawn = out.getvalue()
    assert "\x1b[?1049h" in drawn
    assert drawn.rstrip().endswith("\x1b[?25h") or "\x1b[?1049l" in drawn
    for words in ("▼exits/s", "Esc back", "PAUSED"):
        assert words in drawn
    assert watch.seen.snapshot.monotonic > 103.0
