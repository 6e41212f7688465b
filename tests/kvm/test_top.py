# SPDX-License-Identifier: Apache-2.0
"""The live view on a real terminal, of a real guest."""

import re
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.guest import BareMetalGuest
from tests.guest.machine import E1000, VIRTIO_BLK
from tests.guest.requirements import require_kvm
from tests.kvm.exporter import COMMAND
from tests.kvm.terminal import Terminal

TOP = (COMMAND, "top", "--interval", "0.5")
ROUND = "serial_write=7 serial_read=3 e1000_read=13 virtio_notify=17:0:0 pit_read=2 msr_read=3"


@pytest.fixture(scope="module", autouse=True)
def guests() -> Iterator[None]:
    """A busy VM and an idle one."""
    require_kvm()
    busy = BareMetalGuest(
        "top-busy",
        devices=(*VIRTIO_BLK, *E1000),
        command_line=f"endless pace_us=20000 virtio_init=1:0 then {ROUND}",
    )
    with busy, BareMetalGuest("top-idle") as idle:
        idle.wait_ready()
        idle.pause()
        yield


def busy_row(lines: list[str]) -> list[str]:
    """Name, vCPUs, exits/s, I/O/s, to the VMM a second …; empty before it is there."""
    return next((line.split() for line in lines if line.startswith("top-busy ")), [])


def number(cell: str) -> float:
    return float(cell.lstrip("≥").replace(",", ""))


def has_rates(lines: list[str]) -> bool:
    row = busy_row(lines)
    return len(row) > 4 and number(row[2]) > 0


def only_ours(terminal: Terminal) -> list[str]:
    """Other VMs may run on this host."""
    terminal.wait_for_text("exits/s")
    terminal.press("/", *"top-", "Enter")
    return terminal.wait_for(
        lambda lines: has_rates(lines) and lines[4].startswith("top-"), "the busy VM, first"
    )


def fits(lines: list[str], width: int, height: int) -> None:
    assert len(lines) == height
    assert max(map(len, lines)) <= width


def test_at_80_by_24() -> None:
    """Sorted by exits, into a VM and back, sorted, filtered, paused, helped, ended."""
    with Terminal(TOP, 80, 24) as terminal:
        lines = only_ours(terminal)
        fits(lines, 80, 24)
        assert re.match(r"(host|guest) clock: \S+, (NOT )?SYNCHRONISED", lines[1], re.IGNORECASE)
        names = [line.split()[0] for line in lines[4:6]]
        assert names == ["top-busy", "top-idle"]
        row = busy_row(lines)
        assert number(row[2]) >= number(row[3]) >= number(row[4]) > 0

        terminal.press("Enter")
        lines = terminal.wait_for_text("e1000@")
        fits(lines, 80, 24)
        paths = {
            line.split()[0].partition("@")[0]: line.split()[1] for line in lines if "%" in line
        }
        assert paths["e1000"] == "emulated"
        assert paths["virtio-blk-pci"] == "virtio"
        terminal.press("End")
        terminal.wait_for_text("vcpu cpu")
        terminal.press("Escape")
        terminal.wait_for_text("▼exits/s")

        terminal.press("N")
        terminal.wait_for_text("▲VM")
        terminal.press("r")
        lines = terminal.wait_for_text("▼VM")
        assert [line.split()[0] for line in lines[4:6]] == ["top-idle", "top-busy"]

        terminal.press("/", *"top-i", "Enter")
        terminal.wait_for(lambda lines: not busy_row(lines), "the filter")
        terminal.press("Escape", "E", "r")
        terminal.wait_for(has_rates, "the busy VM again")

        terminal.press("p")
        terminal.wait_for_text("PAUSED")
        still = terminal.lines()
        time.sleep(2)
        assert terminal.lines() == still
        terminal.press("p")
        terminal.wait_for(lambda lines: lines != still, "a change")

        terminal.press("?")
        terminal.wait_for_text("any key goes back")
        terminal.press("x", "q")
        terminal.wait_for_text("ended with 0")


def test_at_200_by_50() -> None:
    """There is room for the hottest path; a terminal that shrinks is drawn anew."""
    with Terminal(TOP, 200, 50) as terminal:
        lines = only_ours(terminal)
        fits(lines, 200, 50)
        assert lines[3].rstrip().endswith("hottest path")
        # Which device it is QEMU is asked in the background.
        terminal.wait_for(
            lambda lines: any("@" in cell for cell in busy_row(lines)), "the device's name"
        )
        terminal.wait_for(lambda lines: bool(set("▁▂▃▄▅▆▇█") & set(" ".join(busy_row(lines)))), "▁")
        terminal.press("Enter", "v")
        terminal.wait_for_text("Esc back")
        terminal.resize(80, 24)
        terminal.wait_for(lambda lines: lines[-1].startswith("Esc back"), "the foot at line 24")
        fits(terminal.lines(), 80, 24)
        terminal.press("C-c")
        terminal.wait_for_text("ended with")


def test_where_nobody_sees_a_screen() -> None:
    """Plain lines, the busy VM first, and only one round if that is asked for."""
    done = subprocess.run([*TOP, "--once"], capture_output=True, text=True, check=True, timeout=60)
    assert "\x1b" not in done.stdout
    lines = done.stdout.splitlines()
    assert len([line for line in lines if " clock: " in line]) == 1
    rows = [line.split() for line in lines if line.startswith("top-") and " qemu " in line]
    assert [row[0] for row in rows] == ["top-busy", "top-idle"]
    assert number(rows[0][4]) > 0
    assert re.search(r"^top-busy +\S+@\S+ +emulated +[\d,.]+ +[\d,.]+$", done.stdout, re.MULTILINE)
