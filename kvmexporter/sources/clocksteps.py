# SPDX-License-Identifier: Apache-2.0
"""Steps of CLOCK_REALTIME: how many, how far, in which direction.

Source: timerfd_create(2), TFD_TIMER_CANCEL_ON_SET: the kernel cancels the read of such
a timer whenever the clock is set rather than slewed. A thread sleeps in that read; it
costs nothing until a step comes. Two steps within the moment that it takes to wake are
told as one, of their sum.
"""

import ctypes
import errno
import os
import select
import threading
import time
from collections.abc import Callable
from typing import ClassVar, Self

from kvmexporter.errors import Unavailable
from kvmexporter.model.clocks import ClockReading, Steps
from kvmexporter.sources.clocks import read_clocks

_TFD_TIMER_ABSTIME = 1 << 0
_TFD_TIMER_CANCEL_ON_SET = 1 << 1
_NEVER = (1 << 63) - 1

# Above what readings of two clocks can be apart: CLOCK_MONOTONIC stood still that long.
_SUSPENDED_NS = 1_000_000

_EXPIRATIONS_BYTES = 8


class _Itimerspec(ctypes.Structure):
    _fields_: ClassVar = [
        ("interval_sec", ctypes.c_int64),
        ("interval_nsec", ctypes.c_int64),
        ("value_sec", ctypes.c_int64),
        ("value_nsec", ctypes.c_int64),
    ]


_libc = ctypes.CDLL(None, use_errno=True)


class StepWatcher:
    """Counts from its making on; one thread, which begins when it is first asked.

    Until then the kernel keeps in mind whether there was a step. So whoever has capabilities can
    give them up in between, before there is a second thread.

    Args:
        read: reads the clocks.

    Raises:
        Unavailable: the kernel refuses such a timer.
    """

    def __init__(self, read: Callable[[], ClockReading] = read_clocks) -> None:
        self._read = read
        self._steps = Steps()
        self._latest = read()
        self._timer = _timer()
        self._wake, self._waker = os.pipe2(os.O_CLOEXEC)
        self._thread: threading.Thread | None = None

    def steps(self) -> Steps:
        """The steps so far."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="clock-steps", daemon=True)
            self._thread.start()
        return self._steps

    def close(self) -> None:
        """End the thread and close the timer; more than once does no harm."""
        if self._waker < 0:
            return
        os.close(self._waker)
        self._waker = -1
        if self._thread:
            self._thread.join()
        os.close(self._wake)
        os.close(self._timer)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._timer, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._wake in ready:
                return
            if _was_canceled(self._timer):
                self._note()

    def _note(self) -> None:
        """Measure what happened: CLOCK_BOOTTIME is never set and does not stop."""
        before, after = self._latest, self._read()
        self._latest = after
        slept_ns = (after.boottime_ns - after.monotonic_ns) - (
            before.boottime_ns - before.monotonic_ns
        )
        size_ns = (after.realtime_ns - after.boottime_ns) - (
            before.realtime_ns - before.boottime_ns
        )
        # Waking from suspend cancels the timer too, and is no step by itself.
        if slept_ns < _SUSPENDED_NS:
            self._steps = self._steps.stepped(size_ns)


def _timer() -> int:
    fd = int(_libc.timerfd_create(time.CLOCK_REALTIME, os.O_CLOEXEC | os.O_NONBLOCK))
    if fd < 0:
        raise _refused("timerfd_create")
    flags = _TFD_TIMER_ABSTIME | _TFD_TIMER_CANCEL_ON_SET
    never = _Itimerspec(0, 0, _NEVER, 0)
    if _libc.timerfd_settime(fd, flags, ctypes.byref(never), None) < 0:
        error = _refused("timerfd_settime")
        os.close(fd)
        raise error
    return fd


def _refused(call: str) -> Unavailable:
    return Unavailable(
        f"{call}: {os.strerror(ctypes.get_errno())}",
        f"let the sandbox's system call filter pass {call}",
    )


def _was_canceled(timer: int) -> bool:
    """Whether the clock was set; reading it arms the timer for the next time."""
    try:
        os.read(timer, _EXPIRATIONS_BYTES)
    except OSError as err:
        if err.errno == errno.ECANCELED:
            return True
        if err.errno != errno.EAGAIN:
            raise
    return False
