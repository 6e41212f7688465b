# SPDX-License-Identifier: Apache-2.0
"""The manifests, against the schemas of Kubernetes and against each other."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml

ROOT = Path(__file__).parents[2]
MANIFESTS = ROOT / "deploy/kubernetes"
# Those of the Prometheus operator's PodMonitor that are used here.
ENDPOINT = {"port", "path", "interval", "scrapeTimeout", "relabelings"}


def read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((MANIFESTS / name).read_text())
    return document


def test_the_daemonset_is_valid() -> None:
    """Strictly: no key that Kubernetes does not know."""
    for version in ("1.28", "1.32"):
        kubernetes_validate.validate(read("daemonset.yaml"), version, strict=True)


def test_the_monitor_finds_the_pods() -> None:
    """By label, and by the name of a port that they have."""
    pods = read("daemonset.yaml")["spec"]["template"]
    monitor = read("podmonitor.yaml")
    assert (monitor["apiVersion"], monitor["kind"]) == ("monitoring.coreos.com/v1", "PodMonitor")
    assert set(monitor["spec"]) == {"selector", "podMetricsEndpoints"}
    wanted = monitor["spec"]["selector"]["matchLabels"].items()
    assert wanted <= pods["metadata"]["labels"].items()
    (container,) = pods["spec"]["containers"]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert set(endpoint) == ENDPOINT
    assert endpoint["port"] in {port["name"] for port in container["ports"]}


def test_the_capabilities_are_those_of_the_unit_and_of_giving_up() -> None:
    """Root in the container has no other; a pod has no /dev/kmsg to read, though."""
    unit = (ROOT / "deploy/systemd/kvmexporter.service").read_text()
    (line,) = [one for one in unit.splitlines() if one.startswith("AmbientCapabilities=")]
    named = {one.removeprefix("CAP_") for one in line.partition("=")[2].split()}
    (container,) = read("daemonset.yaml")["spec"]["template"]["spec"]["containers"]
    added = set(container["securityContext"]["capabilities"]["add"])
    assert added == named - {"SYSLOG"} | {"SETUID", "SETGID", "SETPCAP"}
    assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
    assert container["image"].partition(":")[2] in (ROOT / "pyproject.toml").read_text()
