# SPDX-License-Identifier: Apache-2.0
"""The dashboards, alerts, runbooks and provisioning of the package, as a directory of files."""

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from kvmexporter.errors import KvmExporterError

RUNBOOKS = "runbooks"
"""Where the runbooks are written."""

_URL = "runbook_url: "
_IN_THE_TREE = "docs/runbooks"
_KEPT = (".yml", ".json", ".md")
# The alerts' own tests, of use only where alerts are made; and what provisioning/alerting is a link
# to in the tree.
_LEFT_OUT = ("*.test.yml", "alerts/grafana/*")


def write(output: Path, runbooks: str = RUNBOOKS) -> list[Path]:
    """Write everything below a directory, over what is there.

    Args:
        output: the directory.
        runbooks: what the alerts' runbook_url begins with.

    Returns:
        The files, in order.

    Raises:
        KvmExporterError: the package lacks them, or one cannot be written.
    """
    bundled = dict(_walk(files("kvmexporter") / "dashboards", Path()))
    if not bundled:
        raise KvmExporterError("this installation has no dashboards: install the wheel anew")
    text_of = {
        name: text.replace(f"{_URL}{_IN_THE_TREE}/", f"{_URL}{runbooks.rstrip('/')}/")
        for name, text in bundled.items()
    }
    for directory in (output, *sorted({output / name.parent for name in bundled})):
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise KvmExporterError(
                f"cannot make the directory {err.filename}: {err.strerror}"
            ) from err
    written = []
    for name, text in sorted(text_of.items()):
        path = output / name
        try:
            path.write_text(text, "utf-8")
        except OSError as err:
            raise KvmExporterError(f"cannot write {path}: {err.strerror}") from err
        written.append(path)
    return written


def _walk(directory: Traversable, place: Path) -> Iterator[tuple[Path, str]]:
    if not directory.is_dir():
        return
    for entry in directory.iterdir():
        if entry.is_dir():
            yield from _walk(entry, place / entry.name)
        elif entry.name.endswith(_KEPT) and not any(map((place / entry.name).match, _LEFT_OUT)):
            yield place / entry.name, entry.read_text("utf-8")
