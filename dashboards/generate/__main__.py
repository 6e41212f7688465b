# SPDX-License-Identifier: Apache-2.0
"""Writes everything that is made here: `make dashboards`, `make docs`."""

from pathlib import Path

from dashboards.generate.files import files

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Write what differs, and remove runbooks whose alert is gone."""
    wanted = files()
    for name, text in wanted.items():
        path = ROOT / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            print(f"wrote {name}")  # noqa: T201 - what a make target says
    for directory, ending in (("docs/runbooks", "*.md"), ("dashboards/grafana", "*.json")):
        for path in (ROOT / directory).glob(ending):
            if str(path.relative_to(ROOT)) not in wanted:
                path.unlink()
                print(f"removed {path.relative_to(ROOT)}")  # noqa: T201


if __name__ == "__main__":
    main()
