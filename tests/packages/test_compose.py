# SPDX-License-Identifier: Apache-2.0
"""The compose file, against the other ways to start the same image."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import yaml

from kvmexporter import __version__

ROOT = Path(__file__).parents[2]


def exporter() -> dict[str, Any]:
    compose = yaml.safe_load((ROOT / "dashboards/compose.yml").read_text())
    found: dict[str, Any] = compose["services"]["exporter"]
    return found


def docker_run() -> dict[str, list[str]]:
    """What docs/install.md says after `docker run`: flag → its values; the image last, as ""."""
    text = (ROOT / "docs/install.md").read_text()
    found = re.search(r"^docker run -d ((?:.*\\\n)*.*)$", text, re.MULTILINE)
    assert found
    words = shlex.split(found[1].replace("\\\n", " "))
    given: dict[str, list[str]] = {"": [words.pop()]}
    while words:
        flag = words.pop(0)
        has_value = bool(words) and not words[0].startswith("-")
        given.setdefault(flag, []).append(words.pop(0) if has_value else "")
    return given


def test_it_is_started_as_the_image_starts_it() -> None:
    """As another user than root, of the tag that docs/install.md builds."""
    command = re.search(r"^CMD (.*)$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert command
    assert exporter()["command"] == json.loads(command[1])
    install = (ROOT / "docs/install.md").read_text()
    tag = f"kvmexporter:{__version__}"
    assert f"docker build -t {tag} ." in install
    assert f"docker build -t {tag} ." in (ROOT / "README.md").read_text()
    assert docker_run()[""] == [tag]
    assert exporter()["image"] == f"${{KVMEXPORTER_IMAGE:-{tag}}}"


def test_it_may_what_docker_run_may() -> None:
    """And no more: nothing privileged, nothing writable but /tmp."""
    service, given = exporter(), docker_run()
    assert "privileged" not in service
    assert service["pid"] == given["--pid"][0] == "host"
    assert service["read_only"] is True
    assert "--read-only" in given
    assert service["tmpfs"] == given["--tmpfs"]
    assert service["cap_drop"] == given["--cap-drop"] == ["ALL"]
    assert service["cap_add"] == given["--cap-add"]
    assert service["volumes"] == given["-v"]
    assert all(one.endswith(":ro") for one in service["volumes"])
    assert service["devices"] == given["--device"]
    assert [one.replace(":", "=") for one in service["security_opt"]] == given["--security-opt"]


def test_a_pod_may_the_same_but_for_devices() -> None:
    """Which only privileged pods are given."""
    manifest = yaml.safe_load((ROOT / "deploy/kubernetes/daemonset.yaml").read_text())
    pods = manifest["spec"]["template"]
    (container,) = pods["spec"]["containers"]
    service = exporter()
    added = container["securityContext"]["capabilities"]["add"]
    assert set(added) == set(service["cap_add"]) - {"SYSLOG"}
    assert container["args"] == service["command"]
    mounts = [
        f"{one['mountPath']}:{one['mountPath']}:ro"
        for one in container["volumeMounts"]
        if one.get("readOnly")
    ]
    assert mounts == service["volumes"]
    assert [one["mountPath"] for one in container["volumeMounts"] if not one.get("readOnly")] == (
        service["tmpfs"]
    )
    assert set(pods["metadata"]["annotations"].values()) == {"unconfined"}
