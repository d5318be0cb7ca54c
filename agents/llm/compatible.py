"""Chat models behind an OpenAI-compatible server, and what their failures mean for a turn."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import cache
from typing import Any, TypeVar

import openai
from django.conf import settings
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from agents.calls import NOT_JSON
from agents.errors import AgentBrokenError, AgentError, NotOursError, OutOfTimeError

logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line per request, with nothing in it that ours lack

LONGEST_STAY_AWAY = 300.0  # seconds of Retry-After that we obey
Answer = TypeVar("Answer")

LOOK_EVERY = 0.25  # seconds between looks at the clock and the lease while a model thinks
BROKEN = (
    openai.AuthenticationError,
    openai.PermissionDeniedError,
    openai.NotFoundError,
    openai.BadRequestError,
    openai.UnprocessableEntityError,
)


def chat_model(name: str, base_url: str, api_key: str, timeout: float) -> ChatOpenAI:
    """One client per process and server: its connections are reused. Attempts are the turn's business, not its."""
    return _chat_model(name, base_url, api_key, timeout)


@cache
def _chat_model(name: str, base_url: str, api_key: str, timeout: float) -> ChatOpenAI:
    return ChatOpenAI(
        model=name,
        base_url=base_url or None,
        api_key=SecretStr(api_key),
        timeout=timeout,
        max_retries=0,
        streaming=True,  # a stream shows at each token whether it is still worth waiting
        stream_usage=True,
        use_responses_api=False,  # the one interface all compatible servers have
    )


def from_settings(name: str) -> ChatOpenAI:
    return chat_model(name, settings.OPENAI_BASE_URL, settings.OPENAI_API_KEY or "none", settings.LLM_TIMEOUT)


class Drafts(BaseCallbackHandler):
    """Passes the answer on while it is written, and ends the stream once nobody waits for it."""

    raise_error = True

    def __init__(self, draft: Callable[[str], None] | None, over: threading.Event) -> None:
        self.draft, self.over, self.text = draft, over, ""
        self.calls: dict[int, list[str]] = {}

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, **_more: Any) -> None:
        if self.over.is_set():
            raise OutOfTimeError
        for part in getattr(getattr(chunk, "message", None), "tool_call_chunks", None) or ():
            call = self.calls.setdefault(part["index"] or 0, ["", ""])
            call[0] += part["name"] or ""
            call[1] += part["args"] or ""
        if isinstance(token, str) and token:
            self.text += token
            if self.draft is not None:
                self.draft(self.text)

    def wanted(self, message: AIMessage) -> list[tuple[str, dict[str, Any]]]:
        """The calls as they were sent. LangChain closes what was cut off, and half a list of names is a whole one
        then; here arguments are JSON or they are not."""
        if not self.calls:
            broken = [(call["name"] or "", {NOT_JSON: str(call["args"])}) for call in message.invalid_tool_calls]
            return [(call["name"], call["args"]) for call in message.tool_calls] + broken
        return [(name, _arguments(args)) for _index, (name, args) in sorted(self.calls.items())]


def _arguments(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text or "{}", parse_constant=_refuse)
    except (ValueError, RecursionError):
        return {NOT_JSON: text}
    return found if isinstance(found, dict) else {NOT_JSON: text}


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def within(
    action: Callable[[Drafts], Answer],
    *,
    seconds: float,
    still_ours: Callable[[], bool],
    draft: Callable[[str], None] | None,
) -> Answer:
    """The model's answer, or OutOfTimeError: a server may trickle for ever without breaking any timeout of a socket."""
    over = threading.Event()
    drafts = Drafts(draft, over)
    answers: list[Answer] = []
    raised: list[BaseException] = []

    def work() -> None:
        try:
            answers.append(action(drafts))
        except BaseException as error:  # handed to the one who waits
            raised.append(error)

    thread = threading.Thread(target=copy_context().run, args=(work,), name="model", daemon=True)
    thread.start()
    waited = 0.0
    while thread.is_alive() and waited < seconds and still_ours():
        thread.join(min(LOOK_EVERY, seconds - waited))
        waited += LOOK_EVERY
    over.set()
    if answers:
        return answers[0]
    if raised:
        raise translated(raised[0]) from raised[0]
    raise NotOursError if not still_ours() else OutOfTimeError(f"The model took longer than {seconds:.0f} s.")


def translated(error: BaseException) -> BaseException:  # noqa: PLR0911  one line per kind
    """A client's exception as what it means: worth another try, or not."""
    match error:
        case AgentError():
            return error
        case openai.RateLimitError() if getattr(error, "code", None) == "insufficient_quota":
            return AgentBrokenError("The model's server says that the quota is used up.")
        case openai.APITimeoutError():
            return OutOfTimeError("The model's server did not answer in time.")
        case openai.APIStatusError():
            said = f"The model's server answered {error.status_code}: {str(error.message)[:500]}"
            if isinstance(error, BROKEN):
                return AgentBrokenError(said)
            return AgentError(said, retry_after=_retry_after(error))
        case openai.OpenAIError() | json.JSONDecodeError() | ValueError() | OSError():
            return AgentError(f"The model's server cannot be understood: {type(error).__name__}: {str(error)[:500]}")
        case Exception() if type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore", "httpcore2"):
            return AgentError(f"The connection to the model's server broke: {type(error).__name__}.")
        case _:
            return error


def _retry_after(error: openai.APIStatusError) -> float | None:
    try:
        return min(LONGEST_STAY_AWAY, max(0.0, float(error.response.headers["retry-after"])))
    except (KeyError, ValueError):
        return None
