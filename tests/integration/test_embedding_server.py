"""A server of embeddings that is away, slow, rude or wrong: what a search and the index are told."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from search.embedders import EmbedderError, states
from search.embedders.checks import embedder_works
from search.embedders.openai import OpenAIEmbedder
from tests.fake_embedding_server import Embed, Trickle, embedding_server, with_vector
from tests.fake_model_server import Garbage, Hang, Server, Status

TEXTS = ["We moved house.", "The cat sleeps."]


@contextmanager
def asking(settings: Any, *script: Any, **extra: Any) -> Iterator[tuple[OpenAIEmbedder, Server]]:
    with embedding_server(*script) as server:
        settings.EMBEDDINGS_BASE_URL, settings.EMBEDDINGS_API_KEY = server.url, "key"
        settings.EMBEDDINGS_TIMEOUT, settings.EMBEDDINGS_QUERY_TIMEOUT = extra.get("timeout", 20.0), 0.5
        yield OpenAIEmbedder("fake", 384), server


def refusal(embedder: OpenAIEmbedder, *, query: bool = False) -> EmbedderError:
    with pytest.raises(EmbedderError) as refused:
        embedder.embed(TEXTS, query=query)
    return refused.value


@pytest.mark.parametrize(
    ("answer", "says", "permanent", "retry_after"),
    [
        (Status(400), "refuses the text", True, None),
        (Status(413), "refuses the text", True, None),
        (Status(422), "refuses the text", True, None),
        (Status(401), "refuses us", False, 300),
        (Status(403), "refuses us", False, 300),
        (Status(404), "refuses us", False, 300),
        (Status(429, (("retry-after", "7"),)), "cannot now: 429", False, 7),
        (Status(429, (("retry-after", "99999"),)), "cannot now: 429", False, 300),
        (Status(429, (("retry-after", "Wed, 21 Oct 2026 07:28:00 GMT"),)), "cannot now: 429", False, None),
        (Status(500), "cannot now: 500", False, None),
        (Status(503, (("retry-after", "-3"),)), "cannot now: 503", False, 0),
        (Garbage(), "cannot be understood", False, None),
        (Garbage(b"[]", "application/json"), "holds no vectors", False, None),
        (Garbage(b'{"data": [{}]}', "application/json"), "cannot be understood", False, None),
        (Garbage(b'{"data": [null, null]}', "application/json"), "cannot be understood", False, None),
        (Garbage(b"{" * 100_000, "application/json"), "cannot be understood", False, None),
        (Embed(lambda rows: rows[:1]), "1 vectors for 2 texts", False, None),
        (Embed(lambda rows: [*rows, rows[0]]), "", False, None),
        (Embed(lambda rows: [rows[0], rows[0]]), "cannot be understood", False, None),
        (with_vector("AAAA"), "coding that was not asked for", False, None),
        (with_vector([1.0] * 383), "383 dimensions", False, None),
        (with_vector([]), "0 dimensions", False, None),
        (with_vector([float("nan")] * 384), "not finite", True, None),
        (with_vector([float("inf")] + [0.0] * 383), "not finite", True, None),
        (with_vector([1e39] * 384), "not finite", True, None),
        (with_vector([0.0] * 384), "length zero", True, None),
        (with_vector([None] * 384), "no number", True, None),
    ],
)
def test_a_bad_answer_is_refused_by_name(
    settings: Any, answer: Any, says: str, permanent: bool, retry_after: float | None
) -> None:
    with asking(settings, answer) as (embedder, _server):
        error = refusal(embedder)
        assert says in str(error)
        assert error.permanent is permanent
        assert error.retry_after == retry_after
        assert embedder.last_error == str(error)


def test_vectors_that_come_in_another_order_find_their_texts(settings: Any) -> None:
    with asking(settings, Embed(), Embed(lambda rows: rows[::-1])) as (embedder, _server):
        assert embedder.embed(TEXTS) == embedder.embed(TEXTS)


@pytest.mark.parametrize("answer", [Hang(), Trickle()])
def test_a_slow_server_costs_a_query_its_patience_once(settings: Any, answer: Any) -> None:
    """The first query waits, those after it do not; work in the background asks on."""
    with asking(settings, answer, timeout=1.0) as (embedder, server):
        assert "too slow" in str(refusal(embedder, query=True))
        again = refusal(embedder, query=True)
        assert "Not asked" in str(again)
        assert not again.permanent
        assert again.retry_after
        assert len(server.asked) == 1
        assert "too slow" in str(refusal(embedder))
        assert len(server.asked) == 2


def test_a_server_that_is_back_is_asked_again(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with asking(settings, Status(500), Embed()) as (embedder, server):
        refusal(embedder, query=True)
        refusal(embedder, query=True)
        assert len(server.asked) == 1
        now = time.monotonic
        monkeypatch.setattr("search.embedders.openai.time.monotonic", lambda: now() + 6)
        assert len(embedder.embed(TEXTS, query=True)) == 2
        assert embedder.last_error == ""


def test_a_text_that_is_refused_does_not_close_the_door_to_queries(settings: Any) -> None:
    with asking(settings, Status(400), Embed()) as (embedder, _server):
        assert refusal(embedder).permanent
        assert embedder.embed(["another"], query=True)


def test_a_server_that_is_not_there(settings: Any) -> None:
    with asking(settings) as (embedder, _server):
        pass
    assert "cannot be reached" in str(refusal(embedder))


def test_what_is_sent(settings: Any) -> None:
    with asking(settings) as (embedder, server):
        embedder.embed(["half \ud800 a character"])
        assert server.asked[0] == {"model": "fake", "input": ["half ? a character"], "encoding_format": "float"}


@pytest.mark.parametrize(
    ("model", "dimensions", "sent"),
    [("text-embedding-3-large", 3072, None), ("text-embedding-3-large", 1024, 1024), ("nomic-embed-text", 384, None)],
)
def test_only_models_that_can_are_asked_for_shorter_vectors(
    settings: Any, model: str, dimensions: int, sent: int | None
) -> None:
    with embedding_server(Status(500)) as server:
        settings.EMBEDDINGS_BASE_URL = server.url
        refusal(OpenAIEmbedder(model, dimensions))
        assert server.asked[0].get("dimensions") == sent


def test_staff_are_told_what_is_missing(settings: Any) -> None:
    settings.EMBEDDINGS_PROVIDER, settings.EMBEDDINGS_API_KEY, settings.EMBEDDINGS_BASE_URL = "openai", "", ""
    chosen = states.states()[0]
    assert (chosen.name, chosen.chosen, chosen.ready) == ("openai", True, False)
    assert "EMBEDDINGS_API_KEY" in chosen.trouble
    [told] = embedder_works()
    assert told.id == "parley.W010"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"PROVIDER": "off"}, []),
        ({"PROVIDER": "local"}, []),
        ({"PROVIDER": "openai", "API_KEY": "k"}, []),
        ({"PROVIDER": "openai", "API_KEY": "k", "MODEL": "unheard-of"}, ["parley.W010"]),
        ({"PROVIDER": "openai", "API_KEY": "k", "MODEL": "unheard-of", "DIMENSIONS": 768}, []),
        ({"PROVIDER": "openai", "API_KEY": "k", "DIMENSIONS": 4001}, ["parley.E010"]),
        ({"PROVIDER": "openai", "API_KEY": "k", "DIMENSIONS": -1}, ["parley.E010"]),
        ({"PROVIDER": "no.such.Thing"}, ["parley.W010"]),
        ({"PROVIDER": "typo"}, ["parley.W010"]),
    ],
)
def test_misconfiguration_is_told_at_the_start(settings: Any, values: dict[str, Any], told: list[str]) -> None:
    for name, value in values.items():
        setattr(settings, f"EMBEDDINGS_{name}", value)
    assert [finding.id for finding in embedder_works()] == told
