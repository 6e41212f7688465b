# SPDX-License-Identifier: Apache-2.0
"""The places of vCPU threads' records that need no hash map, as BPF fills them."""

import struct
from collections.abc import Callable

from kvmexporter.sources.bpfmaps import BpfMap, MapLayout
from kvmexporter.sources.nearvcpus import NearVcpus
from tests.unit.vcpu_records import vcpus_layout

PLACES = 1024


class NearPlaces:
    """The maps, and what reads them."""

    def __init__(self, make: Callable[[str, MapLayout], BpfMap]) -> None:
        self.records = make("near_vcpus", vcpus_layout())
        self.owners = make("near_owners", MapLayout(4, 4, PLACES, {}))
        self.reader = NearVcpus(self.records, self.owners)

    def take(self, tid: int, record: bytes) -> None:
        """A thread takes its place and writes its record there."""
        place = struct.pack("I", tid % PLACES)
        self.owners.set(place, struct.pack("I", tid))
        self.records.set(place, record)

    def close(self) -> None:
        self.records.close()
        self.owners.close()
