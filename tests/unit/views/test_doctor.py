# SPDX-License-Identifier: Apache-2.0
"""An examination, shown."""

import json

from kvmexporter import __version__
from kvmexporter.diagnosis import Examination
from kvmexporter.model.needs import Diagnosis, Standing, Verdict
from kvmexporter.views.doctor import render, render_json

OK, DEGRADED, MISSING = Standing
FOUND = Examination(
    "fedora",
    (
        Diagnosis("kvm", Verdict(OK, "/dev/kvm is there"), {}, ("vms",)),
        Diagnosis(
            "bcc",
            Verdict(MISSING, "no\nbcc [bold]", "try again"),
            {"fedora": "dnf install python3-bcc", "debian": "apt-get"},
            ("exits", "io"),
        ),
    ),
    (Diagnosis("exits", Verdict(MISSING, "no bcc"), {}, ("bcc",)),),
    ("exits",),
)


def test_text() -> None:
    """A line each, and what to do on this platform below."""
    assert render(FOUND).splitlines() == [
        f"kvmexporter {__version__}, remedies for: fedora",
        "",
        "need  state    seen, and what to do",
        "kvm   ok       /dev/kvm is there",
        "bcc   missing  no bcc [bold]",
        "               → try again",
        "               → dnf install python3-bcc",
        "",
        "collector  state    seen, and what to do",
        "exits      missing  no bcc",
        "",
        "asked for, and cannot work: exits",
    ]


def test_json() -> None:
    """The same, with every platform's remedies."""
    document = json.loads(render_json(FOUND))
    assert document["format"] == 1
    assert document["failed"] == ["exits"]
    assert document["needs"][1] == {
        "name": "bcc", "state": "missing", "seen": "no\nbcc [bold]", "remedy": "try again",
        "remedies": {"fedora": "dnf install python3-bcc", "debian": "apt-get"},
        "collectors": ["exits", "io"],
    }  # fmt: skip
    assert document["collectors"][0]["lacks"] == ["bcc"]
