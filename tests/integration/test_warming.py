"""The first search finds the model loaded: where there is something to search, and nowhere else."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError
from django.test import Client

from config import asgi, starting
from conversations import log, sessions
from search import embedders, spaces, warming
from search.embedders import states
from search.embedders.openai import OpenAIEmbedder
from search.embedders.sentence_transformers import SentenceTransformersEmbedder
from tests.embedding import BagOfWords
from tests.patience import PATIENCE
from tests.searching import settle, several

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def cold() -> Iterator[None]:
    with patch.object(embedders, "_warmed", False):
        yield


def light(**behaviour: Any) -> BagOfWords:
    one = BagOfWords(**behaviour)
    one.light = True  # type: ignore[attr-defined]
    return one


def something_to_find() -> None:
    log.append(sessions.open(1)[0].pk, "user", "we moved house")
    settle()


def asked(one: BagOfWords) -> int:
    """How often the model was asked by a web process that begins."""
    one.asked.clear()
    starting.prepare()
    return len(one.asked)


def test_the_model_is_loaded_once_where_there_is_something_to_search() -> None:
    with several(one := light()):
        something_to_find()
        assert asked(one) == 1
        assert asked(one) == 0


@pytest.mark.parametrize("one", [BagOfWords(), light(trouble=OperationalError("away"))])
def test_a_large_model_waits_for_a_question_and_trouble_is_no_trouble(one: BagOfWords) -> None:
    with several(one):
        trouble, one.trouble = one.trouble, None
        something_to_find()
        one.trouble = trouble
        assert asked(one) == 0


def test_nothing_is_loaded_for_an_index_without_vectors_or_of_another_model() -> None:
    with several(one := light()):
        assert asked(one) == 0, "there is no space"
        spaces.ensure_current()
        assert asked(one) == 0, "there is no entry"
        something_to_find()
    with several(other := light(model="next"), one):
        assert asked(other) == 0


@pytest.mark.parametrize("provider", [OpenAIEmbedder, SentenceTransformersEmbedder])
def test_what_is_far_away_or_large_is_not_light(provider: Any) -> None:
    assert not getattr(provider, "light", False)


def test_a_database_that_is_away_is_left_to_the_requests() -> None:
    with several(light()), patch.object(spaces, "serving", side_effect=OperationalError("away")):
        starting.prepare()


def test_the_web_process_begins_it_beside_and_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    assert warming.warm_where_used in starting.PREPARATIONS
    monkeypatch.setenv("DATABASE_POOL", "false")  # the module would set it for all that follow
    with patch.object(starting, "begun") as begun:
        importlib.reload(asgi)
    begun.assert_called_once_with()
    done = threading.Event()
    monkeypatch.setattr(starting, "AFTER", 0)
    monkeypatch.setattr(starting, "PREPARATIONS", [done.set])
    starting.begun()
    assert done.wait(PATIENCE)


def test_the_page_loads_the_library_of_no_other_provider(settings: Any) -> None:
    settings.EMBEDDINGS_PROVIDER = "local"
    client = Client()
    client.force_login(User.objects.create_superuser("anna"))
    with patch.object(states, "class_of") as asked_for:
        page = client.get("/admin/search/find/?q=house").content.decode()
    assert "all-MiniLM-L6-v2" in page
    asked_for.assert_not_called()
