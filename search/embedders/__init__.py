"""Who turns text into vectors. One is current; others serve the spaces that were embedded by them.

An embedder is anything of the shape `Embedder`; the contract suite says what that means. `EMBEDDINGS_PROVIDER` names
one of PROVIDERS, or the dotted path of a class of your own with a class method `from_settings()`.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from threading import Lock, Thread
from typing import Any, Protocol

from django.conf import settings
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

OFF = "off"
PROVIDERS = {
    "local": "search.embedders.local.LocalEmbedder",
    "openai": "search.embedders.openai.OpenAIEmbedder",
    "sentence-transformers": "search.embedders.sentence_transformers.SentenceTransformersEmbedder",
}
LOCAL_MODEL, LOCAL_DIMENSIONS = "all-MiniLM-L6-v2", 384
SENTENCE_TRANSFORMERS = "sentence-transformers:"  # before the names of its models, so that a space tells whose it is
MOST_DIMENSIONS = 4_000  # what an index over half-precision vectors can hold

TOO_SHORT, TOO_LONG = 1e-12, 1e30  # squares of lengths; the numbers of a vector are stored in single precision
_warming, _warmed = Lock(), False


class EmbedderError(Exception):
    """No vectors this time.

    `permanent`: these very texts will be refused however often they are sent; of a batch, try each alone. Otherwise
    the embedder is away or set up wrongly, and the same texts may succeed later: after `retry_after` seconds, if known.
    """

    def __init__(self, *args: object, permanent: bool = False, retry_after: float | None = None) -> None:
        super().__init__(*args)
        self.permanent, self.retry_after = permanent, retry_after

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "").splitlines()[0]


class Embedder(Protocol):
    """One vector per text, in order, each of `dimensions` finite numbers and none of length zero."""

    name: str  # of the provider
    model: str
    dimensions: int
    batch: int  # how many texts one call should carry

    # A model of few languages may name the `alphabets` it reads, in the words of Unicode; others read everything.

    def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:
        """Vectors, or EmbedderError. A query is embedded while somebody waits: it is given less time."""
        ...


def reads(embedder: Embedder, text: str) -> bool:
    """Is most of this written in an alphabet the model has learnt? Its vectors of others are not worth much."""
    known: Sequence[str] | None = getattr(embedder, "alphabets", None)
    letters = [character for character in text if character.isalpha()]
    if known is None or not letters:
        return True
    return 2 * sum(unicodedata.name(letter, "").startswith(tuple(known)) for letter in letters) >= len(letters)


def current() -> Embedder | None:
    """The embedder of new vectors; None where EMBEDDINGS_PROVIDER is off. Cheap: models load at the first text."""
    if settings.EMBEDDINGS_PROVIDER == OFF:
        return None
    return _from_settings(settings.EMBEDDINGS_PROVIDER)


def of(model: str, dimensions: int) -> Embedder | None:
    """Whoever embeds for a space of this model; None if nobody here can. An older space is searched with its own."""
    embedder = current()
    if embedder is not None and (embedder.model, embedder.dimensions) == (model, dimensions):
        return embedder
    if (model, dimensions) == (LOCAL_MODEL, LOCAL_DIMENSIONS):
        return _made("local")
    if model.startswith(SENTENCE_TRANSFORMERS):
        return _made("sentence-transformers", model.removeprefix(SENTENCE_TRANSFORMERS), dimensions)
    if settings.EMBEDDINGS_API_KEY or settings.EMBEDDINGS_BASE_URL:
        return _made("openai", model, dimensions)
    return None


def check(vectors: Sequence[Sequence[float]], count: int, dimensions: int) -> None:
    """Refuse what PostgreSQL would refuse later, or worse, would not: a zero vector is at no distance from anything."""
    if len(vectors) != count:
        raise EmbedderError(f"{len(vectors)} vectors for {count} texts")
    for vector in vectors:
        if len(vector) != dimensions:
            raise EmbedderError(f"A vector of {len(vector)} dimensions where {dimensions} are expected")
        try:
            length = math.fsum(number * number for number in vector)
        except (TypeError, OverflowError) as error:
            raise EmbedderError("A vector of something that is no number", permanent=True) from error
        if not length < TOO_LONG:  # so that NaN is refused, too
            raise EmbedderError("A vector with numbers that are not finite, or absurdly large", permanent=True)
        if length < TOO_SHORT:
            raise EmbedderError("A vector of length zero", permanent=True)


def warm() -> None:
    """Load the current model beside what goes on: the first question is likely to come soon."""
    Thread(target=load, daemon=True, name="search.warm").start()


def load() -> None:
    """Once per process; one that is asked over the network has nothing to load."""
    global _warmed
    with _warming:
        if _warmed or (embedder := current()) is None or getattr(embedder, "remote", False):
            return
        _warmed = True  # once is enough, whatever comes of it: the question itself will tell
        with suppress(EmbedderError):
            embedder.embed(["warm"], query=True)


def class_of(provider: str) -> Any:
    """The class behind a provider's name or dotted path; ImportError if there is none."""
    return import_string(PROVIDERS.get(provider, provider))


@cache
def _from_settings(provider: str) -> Embedder:
    made: Embedder = class_of(provider).from_settings()
    return made


@cache
def _made(provider: str, *of_model: Any) -> Embedder:
    made: Embedder = class_of(provider).of(*of_model)
    return made


def forget(*, setting: str = "EMBEDDINGS_", **_signal: Any) -> None:
    """Make embedders anew when settings change, as they do in tests only."""
    if setting.startswith("EMBEDDINGS_"):
        _from_settings.cache_clear()
        _made.cache_clear()


setting_changed.connect(forget, dispatch_uid="search.embedders.forget")
