# SPDX-License-Identifier: Apache-2.0
"""`make preview`: builds the page, serves it, and takes a picture of every dashboard.

From the answers that the lab's test kept (`--answers
lab-results/dashboards/answers-newest.json`), or from this host: its exporter is asked by a
Prometheus for a minute. Pictures go to `lab-results/preview`, kept with the lab's other results.
"""

import argparse
import functools
import http.server
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.dashboards import asked
from tests.dashboards.hurried import Hurry
from tests.dashboards.server import Prometheus

_HERE = Path(__file__).parent
_BUILD = _HERE / "build"
_PICTURES = _HERE.parents[2] / "lab-results/preview"
_SOURCES = ("index.html", "package.json", "vite.config.js", "src/*")
_WIDTH = 1600
_CELL = 38
_HURRY = Hurry(factor=15)
_COLLECT_SECONDS = 90


def main() -> None:
    """Draw all dashboards, folded rows by themselves."""
    parser = argparse.ArgumentParser(prog="python -m tests.dashboards.preview")
    parser.add_argument("--answers", type=Path, help="kept by make lab-dashboards")
    parser.add_argument("--target", default="127.0.0.1:9942", help="an exporter that runs")
    parser.add_argument("--pictures", type=Path, default=_PICTURES, help="where they go")
    options = parser.parse_args()
    _build()
    answers = (
        asked.redrawn(json.loads(options.answers.read_text()))
        if options.answers
        else _ask(options.target)
    )
    asked.save(answers, _BUILD / "answers.json")
    options.pictures.mkdir(parents=True, exist_ok=True)
    with _served(_BUILD) as address:
        for board in answers["boards"]:
            for name, page, height in _pages(board):
                picture = options.pictures / f"{name}.png"
                _picture(f"{address}/?{page}", picture, height)
                print(picture, flush=True)


def _build() -> None:
    """Install what the page is made of, and make it; what is there and not older stays."""
    sources = [path for pattern in _SOURCES for path in _HERE.glob(pattern)]
    for made, of, command in (
        ("node_modules/.package-lock.json", [_HERE / "package.json"], ["npm", "install"]),
        ("build/index.html", sources, ["npm", "run", "build"]),
    ):
        there = (_HERE / made).stat().st_mtime if (_HERE / made).exists() else 0.0
        if there < max(path.stat().st_mtime for path in of):
            subprocess.run(command, cwd=_HERE, check=True, stdout=subprocess.DEVNULL)


def _ask(target: str) -> dict[str, Any]:
    with (
        tempfile.TemporaryDirectory() as directory,
        Prometheus(Path(directory), {target: target}, hurry=_HURRY) as prometheus,
    ):
        time.sleep(_COLLECT_SECONDS)
        return asked.ask_all(prometheus, _COLLECT_SECONDS, "20s")


def _pages(board: dict[str, Any]) -> Iterator[tuple[str, str, int]]:
    name = board["uid"].removeprefix("kvmexporter-")
    rows = [panel for panel in board["panels"] if panel["type"] == "row"]
    seen = [panel for panel in board["panels"] if panel["type"] != "row"]
    yield name, f"board={board['uid']}", _height(seen)
    for i, row in enumerate(rows):
        yield f"{name}-{i + 1}", f"board={board['uid']}&row={i}", _height(row["panels"])


def _height(panels: list[dict[str, Any]]) -> int:
    places: list[dict[str, int]] = [panel["gridPos"] for panel in panels]
    top = min(place["y"] for place in places)
    return 48 + _CELL * (max(place["y"] + place["h"] for place in places) - top)


@contextmanager
def _served(directory: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def _picture(url: str, path: Path, height: int) -> None:
    browser = shutil.which("chromium")
    if not browser:
        sys.exit("chromium is missing: apt-get install chromium")
    with tempfile.TemporaryDirectory() as profile:
        subprocess.run(
            [
                browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
                "--no-first-run", "--disable-background-networking", "--disable-component-update",
                "--disable-sync", "--hide-scrollbars", f"--user-data-dir={profile}",
                f"--window-size={_WIDTH},{height}", "--virtual-time-budget=20000",
                f"--screenshot={path}", url,
            ],
            check=True, timeout=180, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip


if __name__ == "__main__":
    main()
