# SPDX-License-Identifier: Apache-2.0
"""The dashboards, alerts and provisioning that come with the package, as a directory of files."""

from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from kvmexporter.errors import KvmExporterError

RUNBOOKS = "docs/runbooks"

_URL = "runbook_url: "
_KEPT = (".yml", ".json")


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
    written = []
    for name, text in sorted(bundled.items()):
        path = output / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(
                text.replace(f"{_URL}{RUNBOOKS}/", f"{_URL}{runbooks.rstrip('/')}/"), "utf-8"
            )
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
        elif entry.name.endswith(_KEPT):
            yield place / entry.name, entry.read_text("utf-8")
