# SPDX-License-Identifier: Apache-2.0
"""What several tests of sources begin with."""

from collections.abc import Iterator

import pytest

from tests.unit.sources.vcpu_threads import NearThreads, Threads
from tests.unit.vcpu_records import MemoryMap, kernel_map, no_kernel_maps

_NO_MAPS = no_kernel_maps()


@pytest.fixture(
    params=[
        pytest.param((threads_of, make), id=f"{where}-{name}", marks=marks)
        for name, threads_of in (("hash", Threads), ("near", NearThreads))
        for where, make, marks in (
            ("memory", MemoryMap, ()),
            ("kernel", kernel_map, pytest.mark.skipif(bool(_NO_MAPS), reason=_NO_MAPS or "-")),
        )
    ]
)
def threads(request: pytest.FixtureRequest) -> Iterator[Threads]:
    """Threads of vCPUs, with records where BPF may keep them."""
    threads_of, make = request.param
    made: Threads = threads_of(make)
    yield made
    made.close()
