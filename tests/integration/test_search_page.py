"""The search page as staff use it: what is found and why, under filters, in trouble, and with hostile text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any
from unittest.mock import patch
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.http import QueryDict
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agents.models import AuditEntry
from conversations import log, sessions
from search.declarations import declared
from search.embedders import EmbedderError
from search.errors import SearchError
from search.filters import where
from search.models import Entry, Space, Unembedded
from search.page.form import LIMITS, SearchForm
from tests.answering import an_agent
from tests.embedding import BagOfWords
from tests.searching import embedder, settle

pytestmark = pytest.mark.django_db
PAGE = "/admin/search/find/"
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> {{ 7*7 }} \u202egnp.exe"


@pytest.fixture
def bag() -> Iterator[BagOfWords]:
    with embedder() as one:
        yield one


@pytest.fixture
def talk(bag: BagOfWords) -> UUID:
    conversation, _new = sessions.open(7, title="About the move")
    for role, text in (
        ("user", "The piano was heavy"),
        ("assistant", "How heavy was the piano?"),
        ("user", "Cats sleep"),
    ):
        log.append(conversation.pk, role, text)
    settle()
    return conversation.pk


def ask(client: Client, q: str = "", **more: Any) -> str:
    answer = client.get(PAGE, {"q": q, **more})
    assert answer.status_code == 200
    return answer.content.decode()


def hits(page: str) -> list[str]:
    found = re.findall(r'<p class="snippet" dir="auto">(.*?)</p>', page, re.DOTALL)
    return [re.sub(r"<.*?>", "", snippet) for snippet in found]


def test_a_hit_shows_its_ranks_its_words_and_its_place(admin_client: Client, talk: UUID) -> None:
    page = ask(admin_client, "heavy piano")
    assert hits(page)[:2] == ["The piano was heavy", "How heavy was the piano?"]
    assert "<mark>piano</mark>" in page
    assert "About the move #0" in page
    assert "near in meaning, and has the words" in page
    assert len(re.findall(r"Meaning <b>#\d", page)) >= 2
    assert len(re.findall(r"Words <b>#\d", page)) == 2
    assert 'class="who"><bdi>person</bdi>' in page


def test_the_link_leads_to_the_very_message(admin_client: Client, talk: UUID) -> None:
    page = ask(admin_client, "cats")
    link = re.search(r'class="place" href="([^"]+)"', page)
    assert link
    assert link[1].endswith("?at=2#m2")
    transcript = admin_client.get(link[1].split("#")[0]).content.decode()
    assert 'id="m2"' in transcript
    assert "Cats sleep" in transcript


def test_a_hit_names_the_default_agent_where_its_conversation_names_none(
    admin_client: Client, talk: UUID, settings: Any
) -> None:
    agent = an_agent()
    assert f"<bdi>{agent.name}</bdi>" not in ask(admin_client, "heavy piano")
    settings.DEFAULT_AGENT = agent.name
    assert f"<bdi>{agent.name}</bdi>" in ask(admin_client, "heavy piano")


def test_modes_and_filters_narrow(admin_client: Client, talk: UUID) -> None:
    other, _new = sessions.open(8, title="Another")
    log.append(other.pk, "user", "A piano elsewhere", metadata={})
    settle()
    assert len(hits(ask(admin_client, "piano", mode="keyword"))) == 3
    assert hits(ask(admin_client, "piano", mode="keyword", user=8)) == ["A piano elsewhere"]
    assert hits(ask(admin_client, "piano", mode="keyword", role="assistant")) == ["How heavy was the piano?"]
    assert hits(ask(admin_client, "piano", mode="keyword", session=str(other.pk))) == ["A piano elsewhere"]
    assert len(hits(ask(admin_client, "piano", mode="keyword", metadata="channel=api, message_index=0"))) == 2
    assert hits(ask(admin_client, "piano", metadata="channel=telegram")) == []
    today = timezone.localdate()
    assert len(hits(ask(admin_client, "piano", mode="keyword", before=today.isoformat()))) == 3, (
        "to the end of that day"
    )
    assert hits(ask(admin_client, "piano", mode="keyword", before=(today - timedelta(days=1)).isoformat())) == []
    assert hits(ask(admin_client, "piano", mode="keyword", after=(today + timedelta(days=1)).isoformat())) == []


def test_filters_in_use_can_be_taken_off(admin_client: Client, talk: UUID) -> None:
    page = ask(admin_client, "piano", role="assistant", user=7)
    chips = re.findall(r'class="chip" href="([^"]+)"', page)
    assert len(chips) == 2
    assert "role=" not in chips[1]
    assert "user=7" in chips[1]


def test_deleted_messages_are_found_only_when_asked_for(admin_client: Client, talk: UUID) -> None:
    log.clear(talk, by="anna")
    settle()
    assert "Nothing was found" in ask(admin_client, "piano", mode="keyword")
    page = ask(admin_client, "piano", mode="keyword", deleted="only")
    assert len(hits(page)) == 2
    assert page.count('class="hit gone"') == 2


def test_more_like_one(admin_client: Client, talk: UUID) -> None:
    page = ask(admin_client, "cats")
    like = re.findall(r'class="like" href="([^"]+)"', page)[0]
    similar = admin_client.get(PAGE + like.replace("&amp;", "&")).content.decode()
    assert "<blockquote" in similar
    assert "Cats sleep" in similar.split("<blockquote")[1].split("</blockquote>")[0]
    assert "Cats sleep" not in hits(similar)
    assert hits(similar)


def test_the_exact_check_tells_recall(admin_client: Client, talk: UUID) -> None:
    page = ask(admin_client, "heavy piano", exact=1)
    assert re.search(r"<strong>100 %</strong>\s*<span>3 of the nearest 3 were found", page)
    assert "exact=1" not in page, "it is not offered twice"


def test_without_an_embedder_words_are_found_and_the_page_says_so(admin_client: Client, talk: UUID, bag: Any) -> None:
    bag.trouble = EmbedderError("gone")
    page = ask(admin_client, "heavy piano", exact=1)
    assert "The embedder did not answer" in page
    assert len(hits(page)) == 2
    assert "Words <b>#1" in page
    assert "No check without a vector" in page


def test_an_installation_without_entries(admin_client: Client) -> None:
    assert "By keyboard" in ask(admin_client)
    page = ask(admin_client, "anything")
    assert "Nothing was found" in page


BAD: list[tuple[dict[str, str], str]] = [
    ({"mode": "psychic"}, "mode"),
    ({"user": "x"}, "user"),
    ({"user": str(2**63)}, "user"),
    ({"agent": "x"}, "agent"),
    ({"role": "<b>"}, "role"),
    ({"type": "secrets"}, "kind"),
    ({"after": "yesterday"}, "from"),
    ({"before": "2026-13-45"}, "to"),
    ({"deleted": "maybe"}, "deleted"),
    ({"metadata": "no equals sign"}, "metadata"),
    ({"metadata": "=x"}, "metadata"),
    ({"session": "1 OR 1=1"}, "conversation"),
    ({"limit": "1000000"}, "limit"),
    ({"q": "x" * 2_001}, "question"),
    ({"q": "a\0b"}, "question"),
    ({"before": "9999-12-31"}, ""),
    ({"after": "0001-01-01"}, ""),
    ({"metadata": ",".join(f"k{n}=1" for n in range(11))}, ""),
    ({"metadata": f"{'k' * 300}=1"}, ""),
    ({"like": "message:not-an-id"}, ""),
    ({"like": f"message:{uuid4()}"}, ""),
]


def test_bad_input_is_told_and_harms_nothing(admin_client: Client, talk: UUID) -> None:
    for fields, says in BAD:
        page = ask(admin_client, **{"q": "piano", **fields})
        if says:
            assert re.search(rf'role="alert">.*?<b>{says}</b>', page, re.DOTALL), fields
            assert not hits(page), fields


@pytest.mark.parametrize("language", ["en", "ru"])
def test_hostile_text_is_inert_wherever_it_stands(bag: BagOfWords, admin_client: Client, language: str) -> None:
    conversation, _new = sessions.open(9, title=EVIL, metadata={"x": EVIL}, channel=EVIL[:50])
    log.append(conversation.pk, "user", EVIL, author=EVIL, metadata={EVIL: EVIL})
    settle()
    for q in ("script alert", EVIL):
        given = {"q": q, "metadata": f"channel={EVIL}"}
        page = admin_client.get(PAGE, given, headers={"accept-language": language}).content.decode()
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "49" not in "".join(hits(page))
        shown = re.sub(r'value="[^"]*"', "", page)  # what is typed stays what was typed, in its field
        assert "\u202e" not in shown
    found = ask(admin_client, "script alert")
    assert "U+202E" in found
    assert len(hits(found)) == 1


LITERALS = ["%", "_", "100%", "a_b", "'; DROP TABLE messages;--", "1 OR 1=1", ":*", "&|!()<->", "\\"]


def test_metacharacters_are_literals(admin_client: Client, talk: UUID) -> None:
    for q in LITERALS:
        assert "Cats sleep" not in hits(ask(admin_client, q, mode="keyword")), q


ANYTHING = st.text(max_size=30) | st.sampled_from(["0001-01-01", "9999-12-31", "9" * 19, "-1", "a=1,b=null", "=", "[]"])


@hypothesis_settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from(list(SearchForm.base_fields)), ANYTHING))
def test_whatever_stands_in_the_address_becomes_a_question_or_a_complaint(fields: dict[str, str]) -> None:
    asked = QueryDict(mutable=True)
    asked.update(fields)
    form = SearchForm(asked, {"message": declared()["message"]})
    if form.is_valid():
        with suppress(SearchError):
            where(**form.narrowing())
        assert all(value not in (None, "") for _name, value in form.narrowed())
        assert form.chosen_limit in LIMITS
    else:
        assert form.errors


def test_the_page_answers_whatever_the_address(admin_client: Client, talk: UUID) -> None:
    for address in ("q=%ff%fe", "q=%ED%A0%80", "q=" + "x" * 3_000, "type=%00", "q&q&&&=", "like=%00:%00"):
        assert admin_client.get(f"{PAGE}?{address}").status_code == 200, address


def test_only_who_may_see_rows_finds_them(talk: UUID) -> None:
    anna = User.objects.create_user("anna", password="x", is_staff=True)
    client = Client()
    assert client.get(PAGE).status_code == 302, "to the login"
    client.force_login(anna)
    assert client.get(PAGE, {"q": "piano"}).status_code == 403
    give(anna, "view_entry")
    assert client.get(PAGE, {"q": "piano"}).status_code == 403, "nothing there that she may see"
    give(anna, "view_message")
    assert hits(ask(client, "piano", mode="keyword"))
    assert reverse("search_find") in client.get("/admin/").content.decode()


def give(user: User, permission: str) -> None:
    user.user_permissions.add(Permission.objects.get(codename=permission))
    user.refresh_from_db()
    for cached in ("_perm_cache", "_user_perm_cache"):
        user.__dict__.pop(cached, None)


def test_the_palette_leaves_the_list_of_its_room_where_nobody_asks(admin_client: Client) -> None:
    """Both have the address /admin/search/, and breadcrumbs lead there."""
    page = admin_client.get(reverse("admin:app_list", args=["search"])).content.decode()
    assert reverse("admin:search_space_changelist") in page
    assert admin_client.get(reverse("admin:search"), {"s": ""}).content == b""


def test_the_palette_hands_on_what_was_typed(admin_client: Client) -> None:
    found = admin_client.get(
        "/admin/search/", {"s": "relocation stress"}, headers={"X-Requested-With": "XMLHttpRequest"}
    )
    assert f"{PAGE}?q=relocation+stress" in found.content.decode()


def test_the_start_page_tells_of_coverage(admin_client: Client, talk: UUID) -> None:
    page = admin_client.get("/admin/").content.decode()
    assert "entries: 3, embedded: 3" in page


def test_the_page_asks_the_database_a_fixed_number_of_times(
    admin_client: Client, talk: UUID, django_assert_max_num_queries: Any
) -> None:
    """Whether ten hits or fifty: titles and labels come for all of them together."""
    for number in range(60):
        log.append(talk, "user", f"piano number {number}")
    settle()
    ask(admin_client, "piano")
    counts = []
    for limit in LIMITS[:3]:
        with django_assert_max_num_queries(60) as asked:
            assert len(hits(ask(admin_client, "piano", limit=limit))) == limit
        counts.append(len(asked))
    assert len(set(counts)) == 1


# --- spaces and entries ---
def test_spaces_tell_their_progress_and_who_may_not_resume(admin_client: Client, talk: UUID) -> None:
    page = admin_client.get(reverse("admin:search_space_changelist")).content.decode()
    assert "bag-of-words (64)" in page
    assert page.count("<progress") == 3
    anna = User.objects.create_user("anna", password="x", is_staff=True)
    give(anna, "view_space")
    client = Client()
    client.force_login(anna)
    page = client.get(reverse("admin:search_space_changelist")).content.decode()
    assert "Switch or resume now" not in page
    assert client.post(reverse("admin:search_space_resume")).status_code == 403


def test_the_button_resumes_and_is_on_record(admin_client: Client, bag: BagOfWords) -> None:
    conversation, _new = sessions.open(7)
    log.append(conversation.pk, "user", "too much for it")
    bag.trouble = EmbedderError("never", permanent=True)
    settle()
    assert Unembedded.objects.filter(state="failed").count() == 1
    assert "never" in admin_client.get(reverse("admin:search_unembedded_changelist")).content.decode()
    bag.trouble = None
    assert admin_client.get(reverse("admin:search_space_resume")).status_code == 405
    answer = admin_client.post(reverse("admin:search_space_resume"), follow=True)
    assert "1 refused text is tried once more." in answer.content.decode()
    settle()
    assert not Unembedded.objects.exists()
    deed = AuditEntry.objects.get(action="search.resume")
    assert (deed.actor, deed.details["again"]) == ("admin", 1)


def test_a_switch_shows_both_models_and_the_present_one_serves(admin_client: Client, talk: UUID) -> None:
    with embedder(model="another", dimensions=32):
        admin_client.post(reverse("admin:search_space_resume"))
        assert Space.objects.get(status="building").model == "another"
        page = admin_client.get(reverse("admin:search_space_changelist")).content.decode()
        assert "another (32)" in page
        assert "bag-of-words (64)" in page
        assert "Switching to another (32)" in ask(admin_client, "piano")


def test_entries_are_read_only_and_shown_without_their_numbers(admin_client: Client, talk: UUID) -> None:
    entry = Entry.objects.defer("embedding").filter(chunk=0).first()
    assert entry
    page = admin_client.get(reverse("admin:search_entry_change", args=[entry.pk])).content.decode()
    assert "yes" in page
    assert 'name="_save"' not in page
    with connection.execute_wrapper(no_vectors):
        assert admin_client.get(reverse("admin:search_entry_changelist")).status_code == 200


def no_vectors(execute: Any, sql: str, *rest: Any) -> Any:
    assert '"search_index"."embedding",' not in sql
    return execute(sql, *rest)


def test_a_text_with_the_words_is_said_to_have_them_beyond_the_ranked_ones(admin_client: Client, talk: UUID) -> None:
    """The ranking by words ends at some depth; equal texts behind it were said to have none of the words."""
    with patch("search.legs.by_words", lambda *_given: []):
        page = ask(admin_client, "piano")
    assert page.count("near in meaning, and has the words") == 2
    assert page.count("without any of the words") == 1
