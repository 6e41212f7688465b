# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium that talks to nobody by itself."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

_QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--window-size=1200,1600",
)  # fmt: skip
_TIMEOUT_SECONDS = 60


@contextmanager
def chromium(dark: bool = False, offline: bool = False) -> Iterator[webdriver.Chrome]:
    """A browser of its own.

    Args:
        dark: whether its user prefers dark pages.
        offline: whether it has no network at all.
    """
    with tempfile.TemporaryDirectory(prefix="kvmexporter-chromium-") as profile:
        options = Options()
        options.binary_location = "/usr/bin/chromium"
        for argument in (*_QUIET, f"--user-data-dir={profile}"):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options, Service("/usr/bin/chromedriver"))
        try:
            driver.set_page_load_timeout(_TIMEOUT_SECONDS)
            driver.set_script_timeout(_TIMEOUT_SECONDS)
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
            if offline:
                driver.execute_cdp_cmd("Network.enable", {})
                driver.execute_cdp_cmd(
                    "Network.emulateNetworkConditions",
                    {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0},
                )
            yield driver
        finally:
            driver.quit()


def background(driver: webdriver.Chrome) -> tuple[int, int, int]:
    """The colour of the page."""
    text = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    red, green, blue = text.removeprefix("rgb(").rstrip(")").split(",")[:3]
    return int(red), int(green), int(blue)


def complaints(driver: webdriver.Chrome) -> list[str]:
    """What the browser's console says: refused by policy, not found, thrown."""
    return [str(entry["message"]) for entry in driver.get_log("browser")]  # type: ignore[no-untyped-call] # no hints


def fetched(driver: webdriver.Chrome) -> set[str]:
    """Addresses of everything that the page has loaded besides itself."""
    script = "return performance.getEntriesByType('resource').map(one => one.name)"
    return set(driver.execute_script(script))
