# SPDX-License-Identifier: Apache-2.0
"""A server over a procfs tree, as a process of its own: `python -m ... ROOT PATH`.

Prints its port once it answers. With `--broken` every sampling fails; `--web-config=FILE` is
followed.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from kvmexporter import logs
from kvmexporter.collectors.exporter import ExporterCollector
from kvmexporter.collectors.vms import VmsCollector
from kvmexporter.model.metrics import Family
from kvmexporter.sampler import Sampler, Snapshot
from kvmexporter.views import http, listening, policy
from tests.unit.host import without_bpf
from tests.unit.procfs_tree import ProcfsTree


class Broken(Sampler):
    """Whatever it is asked for."""

    def stream(self, take: Callable[[Family], None]) -> Snapshot:  # noqa: ARG002 - no family comes
        raise RuntimeError("a secret of the inside")


def main(root: str, telemetry_path: str, *flags: str) -> None:
    logs.configure("info", "logfmt")
    sources = without_bpf(ProcfsTree(Path(root)))
    kind = Broken if "--broken" in flags else Sampler
    sampler = kind(sources, [VmsCollector(sources), ExporterCollector(sources)])
    sockets = listening.bind([listening.Address("127.0.0.1", 0)])
    port = sockets[0].getsockname()[1]
    configs = [Path(one.partition("=")[2]) for one in flags if one.startswith("--web-config=")]
    web_config = (configs[0], policy.load(configs[0])) if configs else None
    http.serve(sockets, sampler, telemetry_path, lambda: print(port, flush=True), web_config)


if __name__ == "__main__":
    main(*sys.argv[1:])
