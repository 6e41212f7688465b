# SPDX-License-Identifier: Apache-2.0
"""The bare-metal test guest on the lab's host, booted whatever the emulator does meanwhile."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.guest import BareMetalGuest, GuestError

# The emulated processor now and then loses a machine in its firmware, as it does Linux guests
# (tests/lab/guests.py); that says nothing about what is tested.
_BOOTS = 3
# Of the thread of a guest that spins between commands, where one processor has to do for all.
LAST_PRIORITY = 19


@contextmanager
def booted(name: str, devices: Sequence[str] = ()) -> Iterator[BareMetalGuest]:
    """A guest that obeys; one that does not come up is ended and started again, and that told."""
    for left in reversed(range(_BOOTS)):
        guest = BareMetalGuest(name, devices=devices)
        try:
            guest.start()
            guest.wait_ready()
        except GuestError as err:
            guest.stop()
            if not left:
                raise
            print(f"{name}: started again: {err}", flush=True)
            continue
        try:
            yield guest
        finally:
            guest.stop()
        return
