"""Which embedder is current, which one serves an older space, and which vectors are refused."""

from collections.abc import Sequence
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from search import embedders
from search.embedders import EmbedderError

HERE = "tests.unit.test_embedders.OfYourOwn"
finite = st.floats(-10, 10).filter(lambda number: abs(number) > 1e-3)


class OfYourOwn:
    """The smallest embedder."""

    name, model, dimensions, batch = "own", "length", 1, 8

    @classmethod
    def from_settings(cls) -> Self:
        return cls()

    def embed(self, texts: Sequence[str], *, query: bool = False) -> list[list[float]]:  # noqa: ARG002  the protocol
        return [[float(len(text))] for text in texts]


def test_off_means_nobody(settings: Any) -> None:
    settings.EMBEDDINGS_PROVIDER = "off"
    assert embedders.current() is None


def test_a_class_of_your_own_is_named_by_its_path_and_made_once(settings: Any) -> None:
    settings.EMBEDDINGS_PROVIDER = HERE
    embedder = embedders.current()
    assert embedder is not None
    assert embedder.model == "length"
    assert embedders.current() is embedder
    assert embedders.of("length", 1) is embedder


def test_nobody_serves_a_model_that_is_not_here(settings: Any) -> None:
    settings.EMBEDDINGS_PROVIDER = HERE
    settings.EMBEDDINGS_API_KEY = settings.EMBEDDINGS_BASE_URL = ""
    assert embedders.of("length", 2) is None
    assert embedders.of("text-embedding-3-small", 1536) is None


@hypothesis_settings(max_examples=200)
@given(st.lists(st.lists(finite, min_size=3, max_size=3), max_size=5))
def test_good_vectors_pass(vectors: list[list[float]]) -> None:
    embedders.check(vectors, len(vectors), 3)


@hypothesis_settings(max_examples=200)
@given(
    st.lists(st.lists(finite, min_size=3, max_size=3), min_size=1, max_size=5),
    st.data(),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e200, None, "1", [1.0], {}]),
)
def test_one_bad_number_anywhere_is_refused(vectors: list[list[Any]], data: st.DataObject, bad: Any) -> None:
    at = data.draw(st.integers(0, len(vectors) - 1))
    vectors[at][data.draw(st.integers(0, 2))] = bad
    with pytest.raises(EmbedderError):
        embedders.check(vectors, len(vectors), 3)


@pytest.mark.parametrize(
    ("vectors", "count", "permanent"),
    [
        ([], 1, False),
        ([[1.0, 0.0]], 2, False),
        ([[1.0]], 1, False),
        ([[1.0, 0.0, 0.0]], 1, False),
        ([[]], 1, False),
        ([[0.0, 0.0]], 1, True),
        ([[1e-50, 0.0]], 1, True),
        ([[1e39, 1.0]], 1, True),
    ],
)
def test_what_is_refused_and_whether_for_good(vectors: list[list[float]], count: int, permanent: bool) -> None:
    with pytest.raises(EmbedderError) as refused:
        embedders.check(vectors, count, 2)
    assert refused.value.permanent is permanent
