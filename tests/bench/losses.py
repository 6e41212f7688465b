# SPDX-License-Identifier: Apache-2.0
"""What a guest feels: operations a second with something attached, and with nothing, in turns.

A B A B A: each B against the mean of its neighbours, so that what drifts does not count. A second
is one of the vCPU thread's processor time (schedstat), so that neither does what others take of
this machine's processors.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.contenders import HARDWARE, OURS, Contender, running
from tests.bench.processes import cpu_seconds, resident_bytes
from tests.guest import BareMetalGuest

OPERATION = "pit_write"
# More than a second: what the kernel accounts to a thread that runs may move in ticks of 4 ms.
_COUNT = 200_000
_REST_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Loss:
    """What a guest loses of its port-I/O rate.

    Attributes:
        what: is attached.
        loss: median of 1 - rate with it / rate without, in neighbouring turns.
        noise: of the median: half the distance between the quartiles, by the root of how many.
        rate: operations a second of processor time with it attached.
        start_seconds: from its start to when it counts.
        resident_bytes: of its process.
        share: of a core that its own process takes meanwhile.
        trouble: why it could not be measured, "" if it could.
    """

    what: str
    loss: float = 0.0
    noise: float = 0.0
    rate: float = 0.0
    start_seconds: float = 0.0
    resident_bytes: int = 0
    share: float = 0.0
    trouble: str = ""


def losses(guest: BareMetalGuest, contenders: Sequence[Contender], pairs: int) -> list[Loss]:
    """What the guest loses to each."""
    # What is small takes more of them to tell.
    return [
        _loss(guest, one, 3 * pairs if one in (OURS, HARDWARE) else pairs) for one in contenders
    ]


def _loss(guest: BareMetalGuest, one: Contender, pairs: int) -> Loss:
    rates, start, shares, resident = [], [], [], 0
    without = [_rate(guest)]
    try:
        for _ in range(pairs):
            began = time.monotonic()
            with running(one) as pid:
                start.append(time.monotonic() - began)
                began, used = time.monotonic(), cpu_seconds(pid) if pid else 0
                rates.append(_rate(guest))
                if pid:
                    shares.append((cpu_seconds(pid) - used) / (time.monotonic() - began))
                    resident = max(resident, resident_bytes(pid))
            without.append(_rate(guest))
    except OSError as err:
        return Loss(one.name, trouble=str(err))
    found = [
        1 - rate / ((before + after) / 2)
        for rate, before, after in zip(rates, without[:-1], without[1:], strict=True)
    ]
    quarters = statistics.quantiles(found, n=4)
    return Loss(
        one.name, statistics.median(found), (quarters[2] - quarters[0]) / 2 / len(found) ** 0.5,
        statistics.median(rates), statistics.median(start), resident,
        statistics.median(shares) if shares else 0.0,
    )  # fmt: skip


def _rate(guest: BareMetalGuest) -> float:
    # What has just started or ended leaves the processor another speed and other caches.
    time.sleep(_REST_SECONDS)
    before = _on_processor_ns(guest)
    guest.run(**{OPERATION: _COUNT})
    return _COUNT / ((_on_processor_ns(guest) - before) / 1e9)


def _on_processor_ns(guest: BareMetalGuest) -> int:
    (tid,) = guest.vcpu_tids
    return int(Path(f"/proc/{guest.pid}/task/{tid}/schedstat").read_text().split()[0])
