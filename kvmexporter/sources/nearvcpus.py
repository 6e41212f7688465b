# SPDX-License-Identifier: Apache-2.0
"""The records of vCPU threads that BPF finds without a hash map's look-up.

Reads the maps `near_vcpus` and `near_owners`: a system call for each place that is taken. A thread
that ends leaves its record where it is, and whoever reads it gives the place back: so nothing is
ever cleared while it is being read.
"""

from collections.abc import Iterator

from kvmexporter.sources.bpfmaps import BpfMap


class NearVcpus:
    """Reads the maps; not safe to use from several threads.

    Args:
        records: by place.
        owners: place → the thread that took it.
    """

    def __init__(self, records: BpfMap, owners: BpfMap) -> None:
        self._records = records
        self._owners = owners
        self._tid = _place(records, "tid")
        self._created = _place(records, "created_ns")
        self._tgid = _place(records, "tgid")
        self._ended: list[tuple[bytes, bytes]] = []

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """Records of threads that live, as `vcpus` has them: thread → record."""
        places = list(self._owners.items())
        for place, owner in places:
            value = self._records.get(place)
            if value is None or not any(value[self._created]):
                continue  # being made at this moment
            if any(value[self._tid]):
                yield value[self._tid], value
            else:
                # As in `retired`: created_ns, then the thread below its process.
                key = value[self._created] + owner + value[self._tgid]
                self._ended.append((key, value))
                self._records.set(place, bytes(len(value)))
                self._owners.delete(place)

    def drain(self) -> Iterator[tuple[bytes, bytes]]:
        """Records of threads that had ended when `items` met them, as `retired` has them, once."""
        ended, self._ended = self._ended, []
        yield from ended


def _place(records: BpfMap, field: str) -> slice:
    offset, size, _ = records.layout.fields[field]
    return slice(offset, offset + size)
