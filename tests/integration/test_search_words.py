"""What people type: no text is an error, no character is an operator by accident, operators do what they say."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from conversations import log, sessions
from search import words
from search.errors import SearchError
from search.query import search
from tests.searching import find, settle

pytestmark = pytest.mark.django_db(transaction=True)

NASTY = st.text(
    st.sampled_from("ab яЁё'\"\\:*&|!()<>-—«»“”%_$;{}[]/?.,0\t\n\u00a0\u200b\u0301")
    | st.characters(exclude_categories=[]),
    max_size=40,
)


@pytest.fixture
def said(transactional_db: None) -> None:
    chat = sessions.open(1)[0].pk
    for text in (
        "We are moving to a new flat",
        "a flat with new windows",
        "100% sure_thing",
        "Ёлка у дома",
        "it's a C:\\temp\\* folder",
        "<b>bold</b> & {{7*7}}",
    ):
        log.append(chat, "user", text)
    settle()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NASTY)
@example("'; DROP TABLE messages;--")
@example("a & | ! <-> b:*")
@example("-")
@example('"')
@example('-"" "" «')
@example("% %s %(user_id)s _")
@example("\\' :*")
@example("in the")
def test_no_text_makes_an_error(transactional_db: None, text: str) -> None:
    if "\0" in text or any(0xD800 <= ord(letter) <= 0xDFFF for letter in text):
        with pytest.raises(SearchError):
            search(text)
    else:
        assert search(text).mode == "hybrid"


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("moved", {"We are moving to a new flat"}),  # by stem
        ("flat mov", {"We are moving to a new flat"}),  # the last word may be unfinished
        ("windows new", {"a flat with new windows"}),
        ('"new flat"', {"We are moving to a new flat"}),  # exactly so
        ("«new flat»", {"We are moving to a new flat"}),
        ("flat -moving", {"a flat with new windows"}),
        ('new -"new flat"', {"a flat with new windows"}),
        ("елка", {"Ёлка у дома"}),
        ("ЁЛКИ", {"Ёлка у дома"}),
        ("дом", {"Ёлка у дома"}),
        ("%", set()),  # no wildcard
        ("sure%", {"100% sure_thing"}),
        ("bold", {"<b>bold</b> & {{7*7}}"}),
        ("-flat", set()),  # nothing is wanted
        ("the", set()),  # a stop word
        ("", set()),
        ("   ", set()),
    ],
)
def test_operators_do_what_they_say(said: None, asked: str, found: set[str]) -> None:
    hits = find(asked, mode="keyword")
    assert set(hits[: len(found)]) == found, "those with all of it come first"
    assert found or not hits
    assert ('"' not in asked and "-" not in asked) or len(hits) == len(found), "what is demanded holds for all"


def test_some_of_the_words_are_better_than_nothing_and_the_rarest_counts_most(said: None) -> None:
    hits = search("flat elephants windows", mode="keyword").hits
    assert [hit.content for hit in hits] == ["a flat with new windows", "We are moving to a new flat"]
    assert hits[0].score > hits[1].score


def test_the_snippet_marks_what_matched_and_keeps_markup_as_text(said: None) -> None:
    [hit] = search("BOLD", mode="keyword").hits
    assert "".join(segment.text for segment in hit.snippet) == "<b>bold</b> & {{7*7}}"
    assert [segment.text for segment in hit.snippet if segment.marked] == ["bold"]
    [hit] = search("mov", mode="keyword").hits
    assert [segment.text for segment in hit.snippet if segment.marked] == ["moving"]


def test_a_snippet_of_a_long_text_is_its_telling_part(said: None) -> None:
    chat = sessions.open(2)[0].pk
    log.append(chat, "user", f"{'nothing to see. ' * 30}Here sits the porcupine. {'nothing more. ' * 20}")
    settle()
    [hit] = search("porcupine", mode="keyword").hits
    text = "".join(segment.text for segment in hit.snippet)
    assert "porcupine" in text
    assert text.startswith("… ")
    assert text.endswith(" …")
    assert len(text) < 300


def test_the_parts_of_a_question() -> None:
    asked = words.parse('moving "new flat" -hotel pac')
    assert (asked.words, asked.phrases, asked.without, asked.last) == (
        ("moving", "pac"), ("new flat",), ("hotel",), "pac",
    )  # fmt: skip
    assert words.parse("pack ").last == ""  # finished
    assert words.parse("a-b -").words == ("a-b", "-")
    assert words.parse('"unclosed flat').words == ('"unclosed', "flat")
    assert asked.meaning == "moving pac new flat"
