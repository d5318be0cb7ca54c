"""What every embedder must do, proven on all there are; a server's vectors come over a real socket."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from search.embedders import Embedder, EmbedderError, check, local
from search.embedders.local import LocalEmbedder
from search.embedders.openai import OpenAIEmbedder
from search.embedders.sentence_transformers import SentenceTransformersEmbedder
from tests.contract.paraphrases import PAIRS
from tests.fake_embedding_server import embedding_server

RECORDED = json.loads((Path(__file__).parent / "recorded" / "minilm.json").read_text())["vectors"]
ODD = [
    "",
    " ",
    "\0",
    "a\0b",
    "\ud800",
    "🙂" * 500,
    "word " * 5_000,
    "<script>",
    "نص عربي",
    "日本語",
    "\u200b",
    "x" * 20_000,
]


LOCAL = LocalEmbedder()


@pytest.fixture(scope="module", params=["local", "openai", "sentence-transformers"])
def embedder(request: pytest.FixtureRequest) -> Iterator[Embedder]:
    match request.param:
        case "local":
            yield LocalEmbedder()
        case "openai":
            with embedding_server() as server, pytest.MonkeyPatch.context() as patch:
                patch.setattr("django.conf.settings.EMBEDDINGS_BASE_URL", server.url)
                patch.setattr("django.conf.settings.EMBEDDINGS_QUERY_TIMEOUT", 30.0)
                yield OpenAIEmbedder("fake", 384)
        case _:
            pytest.importorskip("sentence_transformers")
            yield SentenceTransformersEmbedder(str(local._folder()), 384)


def near(one: list[float], other: list[float]) -> float:
    """Cosine."""
    return math.fsum(a * b for a, b in zip(one, other, strict=True)) / (math.hypot(*one) * math.hypot(*other))


def test_one_vector_per_text_in_order(embedder: Embedder) -> None:
    texts = ["We moved house.", "The cat sleeps.", "We moved house."]
    vectors = embedder.embed(texts)
    check(vectors, 3, embedder.dimensions)
    assert near(vectors[0], vectors[2]) == pytest.approx(1, abs=1e-5)
    assert near(vectors[0], vectors[1]) < 0.5
    assert embedder.model
    assert embedder.batch >= 1


def test_nothing_gives_nothing(embedder: Embedder) -> None:
    assert embedder.embed([]) == []


def test_company_changes_no_vector(embedder: Embedder) -> None:
    alone = [embedder.embed([text])[0] for text, _ in PAIRS[:8]]
    together = embedder.embed([text for text, _ in PAIRS[:8]])
    assert min(map(near, alone, together)) > 0.99999


@pytest.mark.parametrize("text", ODD, ids=range(len(ODD)))
def test_whatever_people_write_gets_a_vector(embedder: Embedder, text: str) -> None:
    check(embedder.embed([text]), 1, embedder.dimensions)
    check(embedder.embed([text], query=True), 1, embedder.dimensions)


def test_a_paraphrase_is_nearest_among_all(embedder: Embedder) -> None:
    answers = embedder.embed([answer for _, answer in PAIRS])
    for at, (question, _) in enumerate(PAIRS):
        asked = embedder.embed([question], query=True)[0]
        scores = [near(asked, answer) for answer in answers]
        assert scores.index(max(scores)) == at, question


def test_many_threads_get_what_one_gets(embedder: Embedder) -> None:
    texts = [answer for _, answer in PAIRS]
    one_by_one = [embedder.embed([text])[0] for text in texts]
    with ThreadPoolExecutor(8) as pool:
        at_once = list(pool.map(lambda text: embedder.embed([text])[0], texts))
    assert min(map(near, one_by_one, at_once)) > 0.99999


# --- the local model is the model it says it is ---
@pytest.mark.parametrize("row", RECORDED, ids=range(len(RECORDED)))
def test_the_local_vectors_are_those_of_the_reference(row: dict[str, str]) -> None:
    expected = memoryview(base64.b64decode(row["vector"])).cast("f").tolist()
    found = LOCAL.embed([row["text"]])[0]
    assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) < 1e-5


@hypothesis_settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.text(max_size=60), min_size=1, max_size=4), st.randoms())
def test_any_texts_in_any_order_get_their_own_vectors(texts: list[str], dice: Any) -> None:
    order = list(range(len(texts)))
    dice.shuffle(order)
    straight, shuffled = LOCAL.embed(texts), LOCAL.embed([texts[place] for place in order])
    for place, vector in zip(order, shuffled, strict=True):
        assert near(straight[place], vector) > 0.9999
        assert math.hypot(*vector) == pytest.approx(1, abs=1e-5)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    data = bytearray((local._folder() / "model.safetensors").read_bytes())
    data[-1] ^= 1
    forged = tmp_path / "model.safetensors"
    forged.write_bytes(data)
    with pytest.raises(EmbedderError, match="hash differs") as refused:
        local.verified(forged)
    assert not refused.value.permanent


def test_without_the_weights_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "PACKAGE", "no_such_package")
    embedder = LocalEmbedder()
    assert "no-such-package" in embedder.trouble()
    with pytest.raises(EmbedderError, match="no-such-package") as refused:
        embedder.embed(["hello"])
    assert not refused.value.permanent
