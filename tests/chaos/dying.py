"""Dies by SIGKILL at each line of ours that runs: `python -m tests.chaos.dying SCENARIO STEP` tells of every death.

Each death is that of a forked child in the middle of the scenario; this process then does what a fresh worker and a
patient channel would do, and goes on to the next line. Whoever started it balances the books in the end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch
from uuid import UUID

import django

ROOT = Path(__file__).resolve().parents[2]
OURS = (str(ROOT / "conversations") + os.sep, str(ROOT / "config" / "queue") + os.sep)


def kill_at(number: int) -> Callable[[FrameType, str, Any], Any]:
    """A tracer that ends the process before the line of that number, counted from here."""
    lines = count(1)

    def line(_frame: FrameType, event: str, _arg: Any) -> Any:
        if event == "line" and next(lines) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return line

    def call(frame: FrameType, _event: str, _arg: Any) -> Any:
        return line if frame.f_code.co_filename.startswith(OURS) else None

    return call


def died_at(number: int, act: Callable[[], object]) -> bool:
    """Do it in a child that dies at that line; False when it came to its end before."""
    from django.db import connections

    connections.close_all()
    assert threading.active_count() == 1
    child = os.fork()
    if not child:
        sys.settrace(kill_at(number))
        act()
        sys.settrace(None)
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def send(chat: UUID, *texts: str) -> None:
    """As a channel does: with an id of its own, so that it may repeat what it does not know to be stored."""
    from conversations.buffering import receive

    for text in texts:
        receive(chat, text, external_id=text)


def answer(chat: UUID) -> None:
    """Two messages wait; the worker seals and answers them, and a third comes while the agent thinks."""
    from agents import runtime
    from agents.outcomes import Replied
    from agents.runtime import Request
    from config.queue import run_due
    from tests.time_travel import let_pass

    def run(request: Request) -> Replied:
        if len(request.burst) == 2:
            send(request.conversation_id, "c")
        return Replied(" | ".join(request.burst))

    with patch.object(runtime, "run", run):
        for _ in range(3):
            let_pass(700)  # beyond every lease
            run_due()


SCENARIOS: dict[str, tuple[Callable[[UUID], object], Callable[[UUID], object], Callable[[UUID], object]]] = {
    # before, to be killed in, what sets it right again
    "answer": (lambda chat: send(chat, "a", "b"), answer, answer),
    "receive": (lambda _chat: None, lambda chat: send(chat, "a", "b"), lambda chat: send(chat, "a", "b")),
}


def main(scenario: str, step: int) -> None:
    django.setup()
    from tests.conversing import conversation

    prepare, act, heal = SCENARIOS[scenario]
    for number in count(1, step):
        chat = conversation()
        prepare(chat)
        died = died_at(number, lambda chat=chat: act(chat))
        heal(chat)
        print(json.dumps({"line": number, "chat": str(chat), "died": died}), flush=True)  # noqa: T201
        if not died:
            return


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
