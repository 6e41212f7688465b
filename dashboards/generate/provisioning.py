# SPDX-License-Identifier: Apache-2.0
"""What Grafana, Prometheus and Compose read besides dashboards and rules."""

from typing import Any

from dashboards.generate.rules import dump
from kvmexporter import __version__

_PORT = 9942
# What the unit has, and what giving root up takes.
_CAPABILITIES = (
    *("BPF", "PERFMON", "SYS_PTRACE", "DAC_OVERRIDE", "SYSLOG"),
    *("SETUID", "SETGID", "SETPCAP"),
)


def datasources() -> str:
    """Grafana's data source."""
    source = {
        "name": "Prometheus",
        "uid": "kvmexporter-prometheus",
        "type": "prometheus",
        "access": "proxy",
        "url": "$PROMETHEUS_URL",
        "isDefault": True,
        "jsonData": {"timeInterval": "15s", "httpMethod": "POST", "manageAlerts": True},
    }
    return dump({"apiVersion": 1, "datasources": [source]})


def dashboards() -> str:
    """Grafana's provider of dashboards: the directory beside this one."""
    provider = {
        "name": "kvmexporter",
        "folder": "KVM",
        "type": "file",
        "disableDeletion": True,
        "allowUiUpdates": False,
        "options": {"path": "$KVMEXPORTER_DASHBOARDS/grafana"},
    }
    return dump({"apiVersion": 1, "providers": [provider]})


def prometheus() -> str:
    """Prometheus's configuration: what is scraped, and the rules."""
    scrape: dict[str, Any] = {
        "job_name": "kvmexporter",
        "static_configs": [{"targets": [f"exporter:{_PORT}"]}],
    }
    return dump(
        {
            "global": {"scrape_interval": "15s", "evaluation_interval": "15s"},
            "rule_files": ["alerts/prometheus/*.rules.yml"],
            "scrape_configs": [scrape],
        }
    )


def compose() -> str:
    """Prometheus, Grafana and the exporter together; started in this directory."""
    here = "./:/etc/kvmexporter:ro"
    return dump(
        {
            "services": {
                "exporter": {
                    "image": f"${{KVMEXPORTER_IMAGE:-kvmexporter:{__version__}}}",
                    "command": [
                        *("serve", "--user", "kvmexporter"),
                        *("--web.listen-address", f":{_PORT}"),
                    ],
                    # As in docs/install.md, but for the network: Prometheus finds it by its name.
                    "pid": "host",
                    "read_only": True,
                    "tmpfs": ["/tmp"],  # noqa: S108 - of the container
                    "security_opt": ["seccomp:unconfined", "apparmor:unconfined"],
                    "cap_drop": ["ALL"],
                    "cap_add": list(_CAPABILITIES),
                    "volumes": [
                        f"/sys/kernel/{one}:/sys/kernel/{one}:ro" for one in ("tracing", "debug")
                    ],
                    "devices": ["/dev/kmsg:/dev/kmsg:r"],
                    "restart": "unless-stopped",
                },
                "prometheus": {
                    "image": "prom/prometheus:v3.5.0",
                    "command": [
                        "--config.file=/etc/kvmexporter/prometheus.yml",
                        "--storage.tsdb.path=/prometheus",
                    ],
                    "volumes": [here, "prometheus:/prometheus"],
                    "ports": ["127.0.0.1:9090:9090"],
                    "restart": "unless-stopped",
                },
                "grafana": {
                    "image": "grafana/grafana:12.3.0",
                    "environment": {
                        "GF_PATHS_PROVISIONING": "/etc/kvmexporter/provisioning",
                        "KVMEXPORTER_DASHBOARDS": "/etc/kvmexporter",
                        "PROMETHEUS_URL": "http://prometheus:9090",
                    },
                    "volumes": [here, "grafana:/var/lib/grafana"],
                    "ports": ["127.0.0.1:3000:3000"],
                    "depends_on": ["prometheus"],
                    "restart": "unless-stopped",
                },
            },
            "volumes": {"prometheus": {}, "grafana": {}},
        }
    )
