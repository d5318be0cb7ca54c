"""How long a test waits: the promised figure under `make chaos`, and what a busy machine is granted in `make test`.

A limit of time is written as it is promised, and passes through here: `eventually` grants by itself, `granted` does
for the rest. `make test` runs beside everything else that a machine does, and finds out whether a thing happens;
`make chaos` has the machine to itself, and finds out whether it happens in time.
"""

import os
import time
from collections.abc import Callable

LONG = os.environ.get("PARLEY_LONG") == "1"
GRANTED = 1 if LONG else 4
STUCK = 60  # seconds until what promises no time counts as stuck


def granted(seconds: float) -> float:
    """The promised seconds, or those that prove it on a machine with other work to do."""
    return seconds * GRANTED


PATIENCE = granted(STUCK)


def eventually(question: Callable[[], object], within: float, what: str = "") -> float:
    """Ask until the answer is true; the seconds it took. Fails with `what` when it is late.

    It is the question that synchronises, not the pause.
    """
    begun = time.monotonic()
    limit = granted(within)
    while not question():
        assert time.monotonic() - begun < limit, f"not within {limit} s: {what or question}"
        time.sleep(0.02)
    return time.monotonic() - begun
