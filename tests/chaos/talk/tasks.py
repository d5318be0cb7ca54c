"""Loaded by every process of a worker under `tests.chaos.talk_settings`: the agent asks the harness's model."""

from __future__ import annotations

import json
import os
import socket

from agents import runtime
from agents.outcomes import Replied
from agents.runtime import AgentError, Request

MODEL = int(os.environ.get("PARLEY_MODEL", "0"))  # a port on the loopback
PATIENCE = 30.0  # seconds


def run(request: Request) -> Replied:
    """One line there, one line back; a cut connection or a refusal is an AgentError, as of a real model."""
    question = {"turn": str(request.turn_id), "burst": list(request.burst), "pid": os.getpid()}
    try:
        with socket.create_connection(("127.0.0.1", MODEL), timeout=PATIENCE) as call, call.makefile("rw") as lines:
            lines.write(json.dumps(question) + "\n")
            lines.flush()
            answer = lines.readline()
    except OSError as error:
        raise AgentError("The model hung up.") from error
    if not answer:
        raise AgentError("The model said nothing.")
    return Replied(json.loads(answer)["text"])


runtime.run = run
