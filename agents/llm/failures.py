"""What a failure of a model's server means for a turn: worth another attempt, another prompt, or none."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import openai

from agents.errors import (
    AgentBrokenError,
    AgentError,
    ContextExceededError,
    InputFilteredError,
    OutOfTimeError,
    UnsupportedFieldError,
)

MAX_RETRY_AFTER = 300.0  # seconds
TRANSIENT = {408, 409, 425, 429}  # the only client errors worth another attempt
REFUSALS = {400, 404, 413, 422, None}  # statuses of a refused prompt; None: an error inside of a stream
CONTEXT = re.compile(  # OpenAI, vLLM, llama.cpp, Gemini, Mistral, TGI, LM Studio and LiteLLM word it differently
    r"context[ _]?(length|window|size)|(prompt|input|request|messages?)\b.{0,80}\btoo (long|large)"
    r"|too many (input )?tokens|maximum (number of )?(input )?tokens|reduce the length|input token count"
    r"|max_new_tokens.{0,20}must be|tokens exceed|ContextWindowExceeded",
    re.IGNORECASE | re.DOTALL,
)
FILTER = re.compile(r"content[ _-]?(filter|management policy|policy_violation)|ResponsibleAIPolicy", re.IGNORECASE)
STREAM_OPTIONS = re.compile(r"stream_options|include_usage", re.IGNORECASE)
TOOLS = re.compile(
    r"not support.{0,40}\b(tools?|function)\b|\btools?\b.{0,40}not (supported|permitted|allowed)|support tool use"
    r"|(unknown|unrecogni[sz]ed|unexpected|extra).{0,60}\btools\b(?![\[.])|\btools\b(?![\[.]).{0,60}(extra|unknown)"
    r"|enable-auto-tool-choice",
    re.IGNORECASE | re.DOTALL,
)
PERMANENT_TYPES = re.compile(  # types and codes of an error event without a status
    r"authentication|permission|not_found|invalid_request|invalid_api_key|insufficient_quota|billing|payment"
)


def translated(error: BaseException) -> BaseException:  # noqa: PLR0911  one line per kind
    """A client's exception as what it means for the turn."""
    match error:
        case AgentError():
            return error
        case openai.APITimeoutError():
            return OutOfTimeError("The model's server did not answer in time.")
        case openai.APIConnectionError():
            return AgentError(f"The connection to the model's server broke: {type(error).__name__}.")
        case openai.APIError():
            return _api_error(error)
        case openai.OpenAIError() | json.JSONDecodeError() | ValueError() | OSError():
            return AgentError(f"The model's server cannot be understood: {type(error).__name__}: {str(error)[:500]}")
        case Exception() if type(error).__module__.partition(".")[0] in ("httpx", "httpx2", "httpcore", "httpcore2"):
            return AgentError(f"The connection to the model's server broke: {type(error).__name__}.")
        case _:
            return error


def _api_error(error: openai.APIError) -> AgentError:
    """An error with a status, or one that came as an event inside of a stream."""
    status = error.status_code if isinstance(error, openai.APIStatusError) else _status_in(error.body)
    words = f"The model's server answered {status or 'with an error'}: {str(error.message)[:500]}"
    described = f"{error.message} {error.code} {error.type} {json.dumps(error.body, default=str)}"[:10_000]
    if error.code == "insufficient_quota":
        return AgentBrokenError("The model's server says that the quota is used up.")
    if status in REFUSALS and (refusal := _refusal(status, described, words)):
        return refusal
    if status == 429 and "request too large" in described.lower():
        return ContextExceededError(words)
    if _is_permanent(status, f"{error.type} {error.code}"):
        return AgentBrokenError(words)
    return AgentError(words, retry_after=_retry_after(error))


def _refusal(status: int | None, described: str, words: str) -> AgentError | None:
    """The refusals that another request may get round. Order matters: a filter's page may speak of context, too."""
    if STREAM_OPTIONS.search(described):
        return UnsupportedFieldError("stream_options", words)
    if TOOLS.search(described):
        return UnsupportedFieldError("tools", words)
    if FILTER.search(described):
        return InputFilteredError(words)
    return ContextExceededError(words) if status == 413 or CONTEXT.search(described) else None


def _is_permanent(status: int | None, kind: str) -> bool:
    if status is None:
        return bool(PERMANENT_TYPES.search(kind))
    return 400 <= status < 500 and status not in TRANSIENT


def _status_in(body: Any) -> int | None:
    """The status an error event carries in its own body."""
    if not isinstance(body, dict):
        return None
    found = [str(body.get(key)) for key in ("status", "status_code", "code")]
    return next((int(text) for text in found if re.fullmatch(r"[45]\d\d", text)), None)


def _retry_after(error: openai.APIError) -> float | None:
    """Seconds to wait, from a number or an HTTP date."""
    if not isinstance(error, openai.APIStatusError):
        return None
    text = error.response.headers.get("retry-after", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return min(MAX_RETRY_AFTER, max(0.0, seconds))
