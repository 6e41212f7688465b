# SPDX-License-Identifier: Apache-2.0
"""The page and the HTML report in a real browser, of a real VM with a hostile name."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.guest import BareMetalGuest
from tests.guest.machine import E1000, VIRTIO_BLK
from tests.guest.requirements import require_kvm
from tests.kvm.browser import background, chromium, complaints, fetched
from tests.kvm.exporter import COMMAND, Exporter

HOSTILE = "<img src=x onerror=alert(1)>"
ROUND = "serial_write=7 e1000_read=13 virtio_notify=17:0:0 pit_read=2 msr_read=3"
SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "dump.schema.json").read_text())
_WAIT_SECONDS = 30.0
# Where to leave pictures for people to look at; none by default.
SCREENSHOTS = os.environ.get("KVMEXPORTER_SCREENSHOTS")


@pytest.fixture(scope="module", autouse=True)
def guest() -> Iterator[BareMetalGuest]:
    require_kvm()
    command_line = f"endless pace_us=20000 virtio_init=1:0 then {ROUND}"
    devices = (*VIRTIO_BLK, *E1000)
    with BareMetalGuest(HOSTILE, devices=devices, command_line=command_line) as running:
        running.wait_ready()
        yield running


@pytest.fixture(scope="module")
def exporter() -> Iterator[Exporter]:
    with Exporter() as running:
        yield running


def row(driver: webdriver.Chrome) -> list[str]:
    """The hostile VM's line in the list of VMs; empty until it is there."""
    script = (
        "return [...document.querySelectorAll('tr')].map(row => "
        "[...row.cells].map(cell => cell.textContent))"
    )
    rows: list[list[str]] = driver.execute_script(script)
    return next((cells for cells in rows if cells[:1] == [HOSTILE]), [])


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.1)


def picture(driver: webdriver.Chrome, name: str) -> None:
    if SCREENSHOTS:
        driver.save_screenshot(str(Path(SCREENSHOTS) / f"{name}.png"))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_page_lives(exporter: Exporter, dark: bool) -> None:
    """It shows the VM by its name, its rates move, lines are drawn, and nothing is refused."""
    with chromium(dark) as driver:
        driver.get(f"http://127.0.0.1:{exporter.port}/")
        state = driver.find_element(By.ID, "state")
        wait_for(lambda: state.text == "live", "the first refresh")
        wait_for(lambda: len(row(driver)) > 3 and row(driver)[3].startswith("≥"), "a rate")
        first = row(driver)
        wait_for(lambda: row(driver) != first, "another rate")
        wait_for(lambda: len(driver.find_elements(By.TAG_NAME, "polyline")) >= 2, "lines")
        picture(driver, f"page-{'dark' if dark else 'light'}")
        assert driver.find_elements(By.TAG_NAME, "img") == []
        assert complaints(driver) == []
        base = f"http://127.0.0.1:{exporter.port}"
        assert fetched(driver) == {f"{base}/page.css", f"{base}/page.js", f"{base}/"}
        assert (max(background(driver)) < 64) == dark
        words = driver.find_element(By.TAG_NAME, "main").text
        for part in ("Findings", "VMs", "Hottest I/O paths", "Collectors", "clocksource"):
            assert part in words


@pytest.mark.parametrize("width", [1280, 700])
def test_names_and_states_stay_in_one_piece(width: int) -> None:
    """Whatever there is to say beside them."""
    lines = (
        "return [...document.querySelectorAll('td.whole')].map(cell => {"
        "const range = document.createRange(); range.selectNodeContents(cell);"
        "return [cell.textContent, range.getClientRects().length]})"
    )
    with Exporter("--no-bpf") as running, chromium() as driver:
        driver.set_window_size(width, 1600)
        driver.get(f"http://127.0.0.1:{running.port}/")
        found = driver.execute_script(lines)
        picture(driver, f"page-{width}")
        assert ["unavailable", 1] in found
        assert {count for _, count in found} == {1}


def test_the_page_says_when_nobody_answers() -> None:
    """Instead of showing old numbers as if they were new."""
    with chromium() as driver:
        with Exporter() as running:
            driver.get(f"http://127.0.0.1:{running.port}/")
            state = driver.find_element(By.ID, "state")
            wait_for(lambda: state.text == "live", "the first refresh")
        wait_for(lambda: state.text.startswith("no answer"), "the complaint")


def test_the_policy_would_hold(exporter: Exporter) -> None:
    """Even markup that got through could run nothing: the browser refuses it."""
    with chromium() as driver:
        driver.get(f"http://127.0.0.1:{exporter.port}/")
        driver.execute_script(
            "window.ran = []; document.querySelector('main').innerHTML = "
            "`<img src=x onerror='window.ran.push(1)'>"
            "<a href='javascript:window.ran.push(2)'>x</a>`;"
            "document.querySelector('main a').click();"
        )
        wait_for(lambda: len(complaints(driver)) > 0, "a refusal")
        assert driver.execute_script("return window.ran") == []


def dumped(*arguments: str) -> str:
    done = subprocess.run(
        [COMMAND, "dump", *arguments], capture_output=True, text=True, check=True, timeout=120
    )
    return done.stdout


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_report_needs_no_network(tmp_path: Path, dark: bool) -> None:
    """One file with all its charts, opened by a browser that has no network."""
    file = tmp_path / "report.html"
    file.write_text(dumped("--format", "html", "--duration", "3", "--vm", HOSTILE))
    with chromium(dark, offline=True) as driver:
        driver.get(file.as_uri())
        picture(driver, f"report-{'dark' if dark else 'light'}")
        assert fetched(driver) == set()
        assert complaints(driver) == []
        assert driver.find_elements(By.CSS_SELECTOR, "img, script, link") == []
        lines = driver.find_elements(By.CSS_SELECTOR, "svg polyline")
        assert len(lines) == 2
        assert min(line.size["width"] for line in lines) > 50
        assert len(driver.find_elements(By.CSS_SELECTOR, "svg.bar rect")) >= 3
        assert HOSTILE in driver.find_element(By.TAG_NAME, "body").text
        assert (max(background(driver)) < 64) == dark


def test_what_is_published_describes_the_real_output() -> None:
    """The schema holds, of totals and of rates, redacted or not."""
    validator = Draft202012Validator(SCHEMA)
    for arguments in (("--duration", "0"), ("--duration", "0.5"), ("--redact",)):
        document = json.loads(dumped("--format", "json", *arguments))
        validator.validate(document)
        assert len(document["vms"]) >= 1


@pytest.mark.parametrize("form", ["text", "json", "openmetrics", "html"])
def test_a_redacted_dump_names_nobody(form: str, guest: BareMetalGuest) -> None:
    """Neither the VM nor where its monitor is."""
    plain = dumped("--format", form)
    redacted = dumped("--format", form, "--redact")
    assert "onerror" in plain
    for secret in ("onerror", str(guest.qmp_path)):
        assert secret not in redacted
    assert "vm-1" in redacted
