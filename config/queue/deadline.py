"""A limit on a call that may hang for ever: a server that vanished behind a proxy never closes its socket."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class OverrunError(Exception):
    """It took longer than it may."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise OverrunError in the block after so many seconds; only a main thread can be interrupted.

    There is one timer per process: an alarm that was set outside goes on behind ours, or in its place if it is nearer.
    """
    outer = signal.getitimer(signal.ITIMER_REAL)[0]
    if threading.current_thread() is not threading.main_thread() or 0 < outer <= seconds:
        yield
        return
    begun = time.monotonic()
    before = signal.signal(signal.SIGALRM, _ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 0.5)  # again, where undoing hangs as well
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if outer:
            signal.setitimer(signal.ITIMER_REAL, max(0.001, outer - (time.monotonic() - begun)))


def _ring(_signal: int, _frame: FrameType | None) -> None:
    raise OverrunError(OverrunError.__doc__)
