"""Chat models behind an OpenAI-compatible server."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import cache
from typing import Any

import structlog
from django.conf import settings
from langchain_core.messages import AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_openai import ChatOpenAI
from pydantic import Field, SecretStr

from agents.errors import NotOursError, OutOfTimeError
from agents.llm.failures import translated
from agents.llm.stream import StreamedAnswer

logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line per request, with nothing in it that ours lack
logger = structlog.get_logger(__name__)

LOOK_EVERY = 0.25  # seconds between looks at the clock and the lease while a model thinks

_unsupported: set[tuple[str, str, str]] = set()  # server, model and the field it refused in this process


class CompatibleModel(ChatOpenAI):
    """Hands each chunk to `answer` as it came: LangChain adds cumulative usage up and loses calls without an index."""

    answer: Any = Field(default=None, exclude=True)  # StreamedAnswer

    def _convert_chunk_to_generation_chunk(
        self, chunk: dict[str, Any], default_chunk_class: type, base_generation_info: dict[str, Any] | None
    ) -> ChatGenerationChunk | None:
        if self.answer is None:
            return super()._convert_chunk_to_generation_chunk(chunk, default_chunk_class, base_generation_info)
        self.answer.take(chunk)
        return ChatGenerationChunk(message=AIMessageChunk(content=""))


def chat_model(name: str, base_url: str, api_key: str, timeout: float) -> CompatibleModel:
    """One client per process and server: its connections are reused. Attempts are the turn's business, not its."""
    return _chat_model(name, base_url, api_key, timeout)


@cache
def _chat_model(name: str, base_url: str, api_key: str, timeout: float) -> CompatibleModel:
    return CompatibleModel(
        model=name,
        base_url=base_url or None,
        api_key=SecretStr(api_key),
        timeout=timeout,
        max_retries=0,
        streaming=True,  # a stream shows at each token whether it is still worth waiting
        stream_usage=True,
        use_responses_api=False,  # the one interface all compatible servers have
    )


def from_settings(name: str) -> CompatibleModel:
    return chat_model(name, settings.OPENAI_BASE_URL, settings.OPENAI_API_KEY or "none", settings.LLM_TIMEOUT)


def supports(name: str, field: str) -> bool:
    """Whether the server has not refused this field for this model since the process began."""
    return (settings.OPENAI_BASE_URL, name, field) not in _unsupported


def remember_unsupported(name: str, field: str) -> None:
    _unsupported.add((settings.OPENAI_BASE_URL, name, field))
    logger.warning("model.field_refused", model=name, field=field)


def within(
    action: Callable[[], object], answer: StreamedAnswer, *, seconds: float, still_ours: Callable[[], bool]
) -> None:
    """Run the action in time, or raise OutOfTimeError: a server may trickle for ever without breaking any timeout of a
    socket. What arrives is in `answer`."""
    done = threading.Event()
    raised: list[BaseException] = []

    def work() -> None:
        try:
            action()
            answer.close()
            done.set()
        except BaseException as error:  # handed to the one who waits
            raised.append(error)

    thread = threading.Thread(target=copy_context().run, args=(work,), name="model", daemon=True)
    thread.start()
    waited = 0.0
    while thread.is_alive() and waited < seconds and still_ours():
        thread.join(min(LOOK_EVERY, seconds - waited))
        waited += LOOK_EVERY
    answer.over.set()
    if done.is_set():
        return
    if raised:
        raise translated(raised[0]) from raised[0]
    raise NotOursError if not still_ours() else OutOfTimeError(f"The model took longer than {seconds:.0f} s.")
