"""Embeddings from any OpenAI-compatible server."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from typing import Any

import openai
from django.conf import settings
from django.utils.translation import gettext as _

from search.embedders import EmbedderError, check
from search.embedders.configured import Configured

logging.getLogger("httpx2").setLevel(logging.WARNING)  # a line per request, with nothing in it that ours lack

DEFAULT = "text-embedding-3-small"
DIMENSIONS = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072, "text-embedding-ada-002": 1536}
SHORTENS = "text-embedding-3"  # models that make vectors as short as asked; others may not know the parameter
LARGEST_ANSWER = 256 * 1024 * 1024
STAY_AWAY, LONGEST_STAY_AWAY = 5.0, 300.0  # seconds without queries after a failure; of Retry-After that we obey
TEXT_REFUSED = {400, 413, 422}
SET_UP_WRONGLY = {401, 403, 404}


class OpenAIEmbedder(Configured):
    """One client, whose connections are reused. Attempts are the caller's business."""

    name = "openai"
    default, known = DEFAULT, DIMENSIONS
    remote = True  # nothing to load before the first question

    def __init__(self, model: str, dimensions: int) -> None:
        self.model, self.dimensions = model, dimensions
        self.batch = settings.EMBEDDINGS_BATCH
        self.last_error = ""
        self._away_until = 0.0
        self._client = openai.OpenAI(
            base_url=settings.EMBEDDINGS_BASE_URL or None, api_key=settings.EMBEDDINGS_API_KEY or "none", max_retries=0
        )
        native = DIMENSIONS.get(model)
        self._shorter = dimensions if model.startswith(SHORTENS) and native != dimensions else openai.omit

    def trouble(self) -> str:
        """Why it cannot work, without asking the server; empty if it may."""
        if not (settings.EMBEDDINGS_API_KEY or settings.EMBEDDINGS_BASE_URL):
            return _("No key: set EMBEDDINGS_API_KEY, or OPENAI_API_KEY")
        if not self.dimensions:
            return _("How many dimensions has %s? Set EMBEDDINGS_DIMENSIONS") % self.model
        return ""

    def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        if not texts:
            return []
        if trouble := self.trouble():
            raise EmbedderError(trouble, retry_after=LONGEST_STAY_AWAY)
        if query and (rest := self._away_until - time.monotonic()) > 0:
            raise EmbedderError(f"Not asked for another {rest:.0f} s: {self.last_error}", retry_after=rest)
        seconds = min(settings.EMBEDDINGS_TIMEOUT, settings.EMBEDDINGS_QUERY_TIMEOUT if query else float("inf"))
        try:
            vectors = _vectors(self._ask([_sendable(text) for text in texts], seconds))
            check(vectors, len(texts), self.dimensions)
        except Exception as error:
            raise self._understood(error) from error
        self.last_error, self._away_until = "", 0.0
        return vectors

    def _ask(self, texts: list[str], seconds: float) -> bytes:
        """The body of the answer. A server that trickles keeps every timeout of a socket away, so the clock is ours."""
        deadline = time.monotonic() + seconds
        answer = bytearray()
        with self._client.embeddings.with_streaming_response.create(
            model=self.model, input=texts, dimensions=self._shorter, encoding_format="float", timeout=seconds
        ) as response:
            for part in response.iter_bytes():
                answer += part
                if time.monotonic() > deadline:
                    raise TimeoutError(f"No whole answer within {seconds:g} s")
                if len(answer) > LARGEST_ANSWER:
                    raise EmbedderError("The answer is far too large")
        return bytes(answer)

    def _understood(self, error: Exception) -> EmbedderError:
        """What went wrong, in our words; a server in trouble is not asked for a query again right away."""
        ours = error if isinstance(error, EmbedderError) else _as_ours(error)
        self.last_error = str(ours)
        if not ours.permanent:
            self._away_until = time.monotonic() + (ours.retry_after or STAY_AWAY)
        return ours


def _as_ours(error: Exception) -> EmbedderError:
    match error:
        case openai.APITimeoutError() | TimeoutError():
            return EmbedderError(f"The server is too slow: {error}")
        case openai.APIStatusError() if error.status_code in TEXT_REFUSED:
            return EmbedderError(f"The server refuses the text: {_said(error)}", permanent=True)
        case openai.APIStatusError() if error.status_code in SET_UP_WRONGLY:
            return EmbedderError(f"The server refuses us: {_said(error)}", retry_after=LONGEST_STAY_AWAY)
        case openai.APIStatusError():
            return EmbedderError(f"The server cannot now: {_said(error)}", retry_after=_retry_after(error))
        case openai.APIConnectionError():
            return EmbedderError(f"The server cannot be reached: {error.__cause__ or error}")
        case _:
            return EmbedderError(f"The server cannot be understood: {type(error).__name__}: {str(error)[:300]}")


def _said(error: openai.APIStatusError) -> str:
    return f"{error.status_code} {error.message[:300]}"


def _retry_after(error: openai.APIStatusError) -> float | None:
    try:
        return min(LONGEST_STAY_AWAY, max(0.0, float(error.response.headers["retry-after"])))
    except (KeyError, ValueError):
        return None


def _vectors(body: bytes) -> list[list[float]]:
    """The vectors in the order of the texts, whatever order they came in."""
    match json.loads(body):
        case {"data": list(data)}:
            rows = {row["index"]: row["embedding"] for row in data}
            return [_numbers(rows[place]) for place in range(len(data))]
        case _:
            raise EmbedderError("The server's answer holds no vectors")


def _numbers(vector: Any) -> list[float]:
    if not isinstance(vector, list):
        raise EmbedderError("The server sends vectors in a coding that was not asked for")
    return vector


def _sendable(text: str) -> str:
    """JSON in UTF-8 has no halves of characters."""
    return text.encode(errors="replace").decode()
