"""What does a whole turn cost beside a bare LangGraph invoke, with the same checkpointer and an instant model?"""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from benchmarks.queue_common import row, show
from tests.chaos.world import world

OWN_SERVER = True

ROUNDS = 100


def bare() -> Callable[[], None]:
    """`create_agent` as its documentation shows it: model, checkpointer, one message in, one out."""
    from langchain.agents import create_agent
    from langchain_core.messages import HumanMessage

    from agents import checkpoints
    from agents.llm.scripted import ScriptedModel

    graph = create_agent(ScriptedModel(), [], checkpointer=checkpoints.saver())
    logging.disable(logging.INFO)

    def once() -> None:
        graph.invoke({"messages": [HumanMessage("hello")]}, checkpoints.at(str(uuid4())))

    return once


def whole() -> Callable[[], float]:
    """A sealed burst is claimed, answered by the runtime, and settled: reply, outbox, fates, step."""
    from agents import registry
    from conversations import answering, buffering, sessions

    registry.sync(by="benchmark")
    users = iter(range(1_000_000))

    def once() -> float:
        conversation = sessions.open(next(users))[0].id
        received = buffering.receive(conversation, "hello")
        assert received
        buffering.flush_now(conversation, 0, by="benchmark")
        begun = time.perf_counter()
        answering.answer(conversation)
        return time.perf_counter() - begun

    return once


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Both in one process, in turns, so that a busy machine is busy for both."""
    with world() as made, made.connected():
        return _measured(3 if quick else ROUNDS)


def _measured(rounds: int) -> list[dict[str, Any]]:
    from agents import checkpoints

    one, other = bare(), whole()
    times: tuple[list[float], list[float]] = [], []
    for number in range(rounds + 3):
        begun = time.perf_counter()
        one()
        alone = time.perf_counter() - begun
        turn = other()
        if number >= 3:
            times[0].append(alone)
            times[1].append(turn)
    checkpoints.close()
    mine, theirs = 1000 * statistics.median(times[1]), 1000 * statistics.median(times[0])
    return [
        row("bare LangGraph invoke, median", theirs, "ms", "", ""),
        row("whole turn with an instant model, median", mine, "ms", "", ""),
        row("whole turn / bare LangGraph invoke", mine / theirs, "x", "<= 1.5", "langgraph"),
    ]


if __name__ == "__main__":
    show(run())
