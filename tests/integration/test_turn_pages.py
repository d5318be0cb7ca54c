"""Open bursts, turns and their stories, and staff at the desk: seen by those who may, done once, inert."""

from __future__ import annotations

import html
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext

from agents.models import AuditEntry
from agents.outcomes import Outcome, Replied, Silent, Usage
from agents.runtime import AgentBrokenError, Request
from conversations import buffering, corrections, log, sessions, takeover
from conversations.admin.transcript import UNSEEN_AT_MOST
from conversations.models import Delivery, Fate, MessageBuffer, Mode, Turn
from tests.conversing import agent, conversation, fates, quiet, replies, say
from tests.integration.test_transcript import XSS, Skeleton

TALKS = "/admin/conversations/conversation/"
BURSTS = "/admin/conversations/messagebuffer/"
TURNS = "/admin/conversations/turn/"
pytestmark = pytest.mark.django_db


def may(*permissions: str) -> Client:
    """Somebody of the staff with these rights and no others."""
    user = User.objects.create_user("boris", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(user)
    return client


def page(client: Client, path: str, **headers: str) -> str:
    response = client.get(path, headers=headers, follow=True)
    assert response.status_code == 200
    return html.unescape(response.content.decode())


def act(client: Client, path: str, action: str, *rows: Any, **more: str) -> str:
    data = {"action": action, "_selected_action": [str(row) for row in rows], **more}
    return html.unescape(client.post(path, data, follow=True).content.decode())


def story(client: Client, turn: Turn, **headers: str) -> str:
    return page(client, f"{TURNS}{turn.pk}/change/", **headers)


def titles(text: str) -> list[str]:
    return re.findall(r"<strong>(.*?)</strong>", text.split('class="events"')[1].split("</ol>", maxsplit=1)[0])


def answered(*texts: str, **behaviour: Any) -> Turn:
    """A turn that was run, whatever came of it."""
    talk = conversation()
    say(talk, *texts)
    with agent(**behaviour):
        quiet()
    return Turn.objects.get(conversation_id=talk)


def failed() -> Turn:
    def breaks(_request: Request) -> Outcome:
        raise AgentBrokenError("the model is <b>gone</b>")

    turn = answered("anybody there?", answers=breaks)
    assert turn.status == "failed"
    return turn


def test_a_story_shows_an_answer_that_is_not_whole(staff: Client) -> None:
    trace = {"answer": "cut", "history_left_out": 3, "usage_estimated": True, "without_tools": True}
    text = story(staff, answered("hi", answers=lambda _r: Replied("Once …", usage=Usage(7, 5), trace=trace)))
    assert "The model reached its limit of length: the answer is not whole." in text
    assert "3 older messages were left out" in text
    assert "7 + 5 (estimated)" in text
    assert "the model was offered none" in text


def test_a_story_of_a_whole_answer_has_no_such_notes(staff: Client) -> None:
    trace = {"answer": "whole", "history_left_out": 0, "usage_estimated": False, "without_tools": False}
    text = story(staff, answered("hi", answers=lambda _r: Replied("Once.", usage=Usage(7, 5), trace=trace)))
    assert not any(words in text for words in ("not whole", "left out", "estimated", "offered none"))


# --- open bursts ---
def test_an_open_burst_is_listed_with_what_is_left_by_the_database_clock(staff: Client) -> None:
    talk = conversation(title="About moving")
    say(talk, "one", "two", "three")
    connection.cursor().execute(
        "UPDATE message_buffers SET deadline = clock_timestamp() + interval '1 hour',"
        " flush_at = clock_timestamp() + interval '40 seconds'"
    )
    text = page(staff, BURSTS)
    assert "About moving" in text
    assert re.search(r"field-shown_size[^>]*>\s*3\s*<", text)
    left = re.search(r"field-shown_left[^>]*>\s*([\d.]+)", text)
    assert left
    assert 0 < float(left[1]) <= 40
    assert f"{TALKS}{talk}/change/" in text


def test_answer_now_seals_the_burst_at_once_by_staff(staff: Client) -> None:
    talk = conversation()
    say(talk, "one", "two")
    burst = MessageBuffer.objects.get()
    with agent():
        assert "1 burst is being answered." in act(staff, BURSTS, "answer_now", burst.pk)
        assert Turn.objects.get(conversation_id=talk).trigger == "staff"
        quiet(0)
    assert replies(talk) == ["one | two"]
    assert not MessageBuffer.objects.exists()


def test_discarding_asks_first_and_then_leaves_the_messages_cleared(staff: Client) -> None:
    talk = conversation()
    say(talk, "one", "two")
    burst = MessageBuffer.objects.get()
    asked = act(staff, BURSTS, "discard", burst.pk)
    assert "Discard without an answer?" in asked
    assert MessageBuffer.objects.filter(pk=burst.pk).exists()
    assert "1 burst was discarded." in act(staff, BURSTS, "discard", burst.pk, confirmed="yes")
    with agent():
        quiet()
    assert fates(talk) == {0: Fate.CLEARED, 1: Fate.CLEARED}
    assert replies(talk) == []


def test_a_confirmation_never_discards_the_burst_that_came_after(staff: Client) -> None:
    talk = conversation()
    say(talk, "seen by staff")
    seen = MessageBuffer.objects.get()
    buffering.flush_now(talk, 0, by="boris")
    say(talk, "not seen by staff")
    act(staff, BURSTS, "discard", seen.pk, confirmed="yes")
    assert [message["content"] for message in buffering.get_messages(talk)] == ["not seen by staff"]


def test_a_burst_that_is_sealed_before_our_lock_leaves_the_next_one_alone(
    staff: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = conversation()
    say(talk, "seen by staff")
    lock, raced = buffering.lock, []

    def late(conversation_id: UUID) -> None:
        if not raced:
            raced.append(conversation_id)
            buffering.flush_now(talk, 0, by="boris")
            say(talk, "not seen by staff")
        lock(conversation_id)

    monkeypatch.setattr(buffering, "lock", late)
    said = act(staff, BURSTS, "discard", MessageBuffer.objects.get().pk, confirmed="yes")
    assert "Nothing was left to do" in said
    assert [message["content"] for message in buffering.get_messages(talk)] == ["not seen by staff"]


def test_who_may_only_look_at_bursts_changes_none() -> None:
    talk = conversation()
    say(talk, "one")
    burst, client = MessageBuffer.objects.get(), may("view_messagebuffer")
    assert "answer_now" not in page(client, BURSTS)
    for action in ("answer_now", "discard"):
        act(client, BURSTS, action, burst.pk, confirmed="yes")
    assert MessageBuffer.objects.filter(pk=burst.pk).exists()
    assert client.get(f"{BURSTS}add/").status_code == 403
    assert client.post(f"{BURSTS}{burst.pk}/delete/", {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("path", [BURSTS, TURNS])
def test_without_permission_the_lists_are_closed(path: str) -> None:
    turn = answered("hello")
    client = may("view_conversation")
    assert client.get(path).status_code == 403
    assert 'class="events"' not in page(client, f"{TURNS}{turn.pk}/change/")
    assert client.get(f"{TURNS}{turn.pk}/record/").status_code == 404
    assert client.get(path, headers={"cookie": ""}).status_code in {302, 403}
    assert "why?" not in page(client, f"{TALKS}{turn.conversation_id}/change/")


# --- the list of turns ---
def test_turns_are_listed_with_what_they_waited_and_cost(staff: Client) -> None:
    turn = answered("one", "two", answers=lambda _: Replied("yes", usage=Usage(12_345, 67)))
    text = page(staff, TURNS)
    assert "12345 + 67" in text
    assert re.search(r"field-shown_size[^>]*>\s*2\s*<", text)
    assert f"{TURNS}{turn.pk}/change/" in text
    assert f"{turn.pk}/change" not in page(staff, f"{TURNS}?status__exact=failed")
    assert f"{turn.pk}/change" in page(staff, f"{TURNS}?status__exact=done&trigger__exact={turn.trigger}")
    assert f"{turn.pk}/change" in page(staff, f"{TURNS}?conversation__id__exact={turn.conversation_id}")
    assert f"{turn.pk}/change" not in page(staff, f"{TURNS}?created_at_to=2001-01-01")


def test_the_list_costs_the_same_for_one_turn_and_for_many_and_reads_no_texts(staff: Client) -> None:
    page(staff, TURNS)
    counted = []
    for number in (1, 20):
        for _ in range(number):
            answered("hello")
        with CaptureQueriesContext(connection) as queries:
            page(staff, TURNS)
        counted.append(len(queries))
        assert not any('"turns"."trace"' in query["sql"] for query in queries)
        counts = [query["sql"] for query in queries if "COUNT(" in query["sql"] and '"turns"' in query["sql"]]
        assert all("LIMIT" in sql for sql in counts)
    assert counted[0] == counted[1]


@pytest.mark.parametrize("query", ["conversation__id__exact=x", "status__exact=<script>", "p=-1", "created_at_from=x"])
def test_a_broken_filter_breaks_nothing(staff: Client, query: str) -> None:
    answered("hello")
    assert "<script>alert" not in page(staff, f"{TURNS}?{query}")


@pytest.mark.parametrize("path", ["no-uuid", "0", "%00", "00000000-0000-0000-0000-000000000000", "a" * 3000, "🙂"])
def test_a_turn_that_is_not_there_leads_back(staff: Client, path: str) -> None:
    assert staff.get(f"{TURNS}{path}/change/").status_code in {302, 404}
    assert staff.get(f"{TURNS}{path}/record/").status_code in {302, 404}
    assert staff.get(f"{BURSTS}{path}/change/").status_code in {302, 404}


def test_a_failed_turn_runs_again_and_an_answered_one_does_not(staff: Client) -> None:
    turn, done = failed(), answered("fine")
    with agent():
        said = act(staff, TURNS, "try_again", turn.pk, done.pk)
        quiet(0)
    assert "1 turn runs again." in said
    assert "left alone: 1" in said
    turn.refresh_from_db()
    assert (turn.status, replies(turn.conversation_id)[-1]) == ("done", "anybody there?")
    assert len(replies(done.conversation_id)) == 1


def test_the_agent_does_not_answer_beside_staff_by_a_retry(staff: Client) -> None:
    turn = failed()
    takeover.take_over(turn.conversation_id, by="boris")
    assert "left alone: 1" in act(staff, TURNS, "try_again", turn.pk)
    turn.refresh_from_db()
    assert turn.status == "failed"


def test_who_may_only_look_at_turns_retries_none() -> None:
    turn, client = failed(), may("view_turn")
    assert "Try again" not in story(client, turn)
    act(client, TURNS, "try_again", turn.pk)
    turn.refresh_from_db()
    assert turn.status == "failed"
    assert client.post(f"{TURNS}{turn.pk}/change/", {"status": "done"}).status_code == 405


# --- the story ---
def test_the_story_tells_why_it_waited_what_it_saw_and_what_it_cost(staff: Client) -> None:
    talk = conversation(title="About moving")
    first, _second = say(talk, "we moov", "in May")
    corrections.correct(talk, first.entry.id, "we move")
    connection.cursor().execute("UPDATE message_buffers SET extended_by_typing = 3")
    trace = {"model": "gpt-x", "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "!"}]}
    trace["tool_calls"] = [{"tool": "search", "arguments": {"q": "Tbilisi"}, "milliseconds": 12}]
    with agent(answers=lambda _: Replied("Where to?", usage=Usage(321, 45), trace=trace)):
        quiet()
    turn = Turn.objects.get()
    text = story(staff, turn)
    assert titles(text) == ["Message #0", "Message #1", "The burst was closed", "The agent began", "Answered"]
    for told in (
        "we moov", "we move", "in May", "Corrected 1 time.", "3 signs of typing made it wait longer.", "Be brief.",
        "gpt-x", "search", '"q": "Tbilisi"', "321 + 45", "Where to?", "answered by a turn", "About moving",
        f"{TALKS}{talk}/change/?at=0#m0", f"{TALKS}{talk}/change/?at=3#m3",
    ):  # fmt: skip
        assert told in text, told
    record = staff.get(f"{TURNS}{turn.pk}/record/")
    assert '"model": "gpt-x"' in record.content.decode()
    assert (record["Content-Type"], "sandbox" in record["Content-Security-Policy"]) == (
        "text/plain; charset=utf-8",
        True,
    )
    assert f"{TURNS}{turn.pk}/change/" in page(staff, f"{TALKS}{talk}/change/"), "and back"
    assert "The person had been quiet" in text or "had waited long enough" in text


def test_the_story_shows_the_drafts_before_it_and_their_cost(staff: Client) -> None:
    talk = conversation()
    say(talk, "one")

    def writes_on(request: Request) -> None:
        if len(request.burst) == 1:
            say(talk, "two")

    with agent(during=writes_on, answers=lambda r: Replied(f"draft {len(r.burst)}", usage=Usage(100, 10))):
        quiet()
        quiet()
    stale, turn = Turn.objects.order_by("id")
    assert (stale.status, turn.status) == ("superseded", "done")
    text = story(staff, turn)
    assert "draft 1" in text
    assert "It cost 100 + 10 tokens." in text
    assert "200 + 20" in text
    assert f"{TURNS}{stale.pk}/change/" in text
    other = story(staff, stale)
    assert "Not sent: the person wrote on" in other
    assert f"{TURNS}{turn.pk}/change/" in other


def test_a_failed_silent_or_unfinished_turn_has_a_story_too(staff: Client) -> None:
    bad = failed()
    text = staff.get(f"{TURNS}{bad.pk}/change/").content.decode()
    assert "AgentBrokenError" in text
    assert "<b>gone" not in text
    assert "Try again" in text
    assert "nothing to add" in story(staff, answered("bye", answers=lambda _: Silent("nothing to add")))
    talk = conversation()
    say(talk, "one")
    buffering.flush_now(talk, 0, by="anna")
    waiting = story(staff, Turn.objects.get(conversation_id=talk))
    assert "Waits for a worker" in waiting
    assert "Staff decided to answer at once." in waiting
    Turn.objects.filter(conversation_id=talk).update(
        trace={"prompt": "text", "tool_calls": "odd"}, extended_by_typing=1
    )
    assert "odd" in story(staff, Turn.objects.get(conversation_id=talk))


def test_invisible_characters_do_not_fill_a_story(staff: Client) -> None:
    turn = answered("x" + "\u200b" * 5_000, answers=lambda _request: Replied("y" + "\u2060" * 5_000))
    text = story(staff, turn)
    assert text.count(">U+200B<") == text.count(">U+2060<") == UNSEEN_AT_MOST


def test_a_story_is_few_queries_however_large_the_burst(staff: Client) -> None:
    story(staff, answered("one"))
    counted = []
    for size in (1, 15):
        turn = answered(*[f"message {number}" for number in range(size)])
        with CaptureQueriesContext(connection) as queries:
            story(staff, turn)
        counted.append(len(queries))
    assert counted[0] == counted[1] <= 7


def test_the_story_is_told_in_russian(staff: Client) -> None:
    text = story(staff, answered("раз", "два"), **{"accept-language": "ru"})
    assert "Сообщение №0" in text
    assert not re.search(r"[A-Za-z]{4,}", " ".join(titles(text)))


def everywhere(texts: list[str]) -> list[str]:
    """Pages of turns, bursts and desks into which these texts were written wherever somebody can write."""
    paths = []
    for text in texts:
        talk = sessions.open(7, title=text[:200], channel=text[:50])[0].pk
        trace = {"model": text, "prompt": [{"role": text, "content": text}, text], "tool_calls": [{"tool": text}, text]}
        first = buffering.receive(talk, text, question_context=text).entry
        corrections.correct(talk, first.id, f"{text}!")
        buffering.flush_now(talk, 0, by=text)
        Turn.objects.filter(conversation_id=talk).update(trace={**trace, "reason": text, "steps": [text]}, error=text)
        turn = Turn.objects.get(conversation_id=talk)
        paths.append(f"{TURNS}{turn.pk}/change/")
        log.append(talk, "assistant", text, turn_id=turn.pk)
        buffering.receive(talk, text)
        paths.append(f"{TALKS}{talk}/change/")
    return [*paths, BURSTS, TURNS]


def test_nothing_that_was_written_acts_on_these_pages(staff: Client) -> None:
    """A page with it has, tag by tag, the structure of a page with as many harmless letters."""
    staff.get("/admin/")
    with transaction.atomic():
        harmless = [f"{number:a<{len(evil)}}" for number, evil in enumerate(XSS)]
        expected = [Skeleton(staff.get(path).content.decode()) for path in everywhere(harmless)]
        transaction.set_rollback(True)
    for path, before in zip(paths := everywhere(XSS), expected, strict=True):
        after = Skeleton(staff.get(path).content.decode())
        assert after.tags == before.tags, path
        assert after.strange_targets() == [], path
    assert len(paths) == 2 * len(XSS) + 2


def test_a_confirmation_shows_titles_inert(staff: Client) -> None:
    for text in ("harmless", *XSS):
        buffering.receive(sessions.open(7, title=text[:200])[0].pk, "hello")
    answer = staff.post(BURSTS, {"action": "discard", "_selected_action": list(_burst_ids())})
    tags = Skeleton(answer.content.decode())
    assert tags.strange_targets() == []
    assert "alert(1)</script>" not in answer.content.decode()


def _burst_ids() -> list[UUID]:
    return list(MessageBuffer.objects.values_list("pk", flat=True))


def test_a_button_on_a_page_of_ours_leads_back_to_it_and_nowhere_else(staff: Client) -> None:
    talk = conversation()
    here = f"{TALKS}{talk}/change/"
    places = {here: here, "//evil.example/admin/": None, "https://evil.example/": None, "": None}
    for given, expected in places.items():
        say(talk, "one")
        form = {"action": "answer_now", "_selected_action": _burst_ids(), "back": given}
        answer = staff.post(BURSTS, form)
        assert answer.status_code == 302
        assert (answer.headers["Location"] == here) is (expected is not None), given
        quiet()


# --- the desk ---
def test_staff_take_over_answer_and_hand_back(staff: Client) -> None:
    talk = conversation()
    say(talk, "one")
    here = f"{TALKS}{talk}/"
    assert "1 message waits" in page(staff, f"{here}change/")
    said = html.unescape(staff.post(f"{here}take-over/", follow=True).content.decode())
    assert "the agent is silent" in said
    assert fates(talk) == {0: Fate.STAFF}
    assert "Sent as message #1." in staff.post(f"{here}reply/", {"content": "a\r\nb"}, follow=True).content.decode()
    with agent():
        quiet()
        entry = log.history(talk)[-1]
        assert (entry.content, entry.author, entry.role) == ("a\nb", "anna", "assistant")
        assert "answers again" in staff.post(f"{here}hand-back/", follow=True).content.decode()
        say(talk, "two")
        quiet()
    assert replies(talk) == ["a\nb", "two"]


def test_a_second_click_says_how_it_stands(staff: Client) -> None:
    here = f"{TALKS}{conversation()}/"
    staff.post(f"{here}take-over/")
    assert "Nothing was changed: staff answer." in staff.post(f"{here}take-over/", follow=True).content.decode()
    staff.post(f"{here}hand-back/")
    assert "Nothing was changed: the agent answers." in staff.post(f"{here}hand-back/", follow=True).content.decode()


@pytest.mark.parametrize("content", ["", "  \u200b\n", "a\x00b", "x" * 32_001, None])
def test_what_cannot_be_sent_is_refused_in_words(staff: Client, content: str | None) -> None:
    talk = conversation()
    takeover.take_over(talk, by="anna")
    data = {} if content is None else {"content": content}
    answer = staff.post(f"{TALKS}{talk}/reply/", data, follow=True)
    assert answer.status_code == 200
    assert "Nothing was sent" in answer.content.decode()
    assert replies(talk) == []


def test_a_form_that_is_sent_twice_says_it_once(staff: Client) -> None:
    """A double click, or a page that was sent again after a time-out; also when all was over in between."""
    talk = conversation()
    takeover.take_over(talk, by="anna")
    form = {"content": "I am here", "token": token(staff, talk)}
    for _ in range(2):
        assert "Sent as message #0." in act_on(staff, talk, form)
    sessions.close(talk, by="anna")
    assert "Sent as message #0." in act_on(staff, talk, form)
    assert replies(talk) == ["I am here"]
    assert Delivery.objects.count() == 1
    assert AuditEntry.objects.filter(action="conversation.reply").count() == 1
    assert LogEntry.objects.filter(change_message__contains="replied").count() == 1
    assert "is closed" in act_on(staff, talk, {**form, "content": "and gone"})


def test_a_reply_by_script_is_answered_in_json_and_stored_once(staff: Client) -> None:
    talk = conversation()
    takeover.take_over(talk, by="anna")
    form = {"content": "I am here", "token": token(staff, talk)}
    asked = {"accept": "application/json"}
    for _ in range(2):
        answer = staff.post(f"{TALKS}{talk}/reply/", form, headers=asked)
        assert (answer.status_code, list(answer.json())) == (200, ["note"])
    answer = staff.post(f"{TALKS}{talk}/reply/", {**form, "content": " "}, headers=asked)
    assert (answer.status_code, list(answer.json())) == (400, ["error"])
    assert replies(talk) == ["I am here"]
    assert "Sent as" not in page(staff, f"{TALKS}{talk}/change/")  # nothing of it waits for the next page


def test_a_reply_that_waits_is_not_called_sent(staff: Client) -> None:
    talk = sessions.open(7, channel="telegram", chat_id=7)[0].pk
    takeover.take_over(talk, by="anna")
    assert "Message #0 is stored and on its way." in act_on(staff, talk, {"content": "one"})
    Delivery.objects.update(error="TELEGRAM_BOT_TOKEN is not set.")
    said = act_on(staff, talk, {"content": "two"})
    assert "Message #1 is stored, but cannot be sent now: TELEGRAM_BOT_TOKEN is not set." in said


def test_another_text_and_another_page_are_another_message(staff: Client) -> None:
    talk = conversation()
    takeover.take_over(talk, by="anna")
    first = token(staff, talk)
    act_on(staff, talk, {"content": "one", "token": first})
    act_on(staff, talk, {"content": "two", "token": first})  # written after going back in the browser
    act_on(staff, talk, {"content": "one", "token": token(staff, talk)})
    assert replies(talk) == ["one", "two", "one"]
    assert "Nothing was sent" in act_on(staff, talk, {"content": "three", "token": "mine"})


@pytest.mark.django_db(transaction=True)
def test_of_two_sendings_at_one_time_one_is_stored() -> None:
    talk = conversation()

    def send(_number: int) -> bool:
        try:
            return takeover.reply(talk, "I am here", by="anna", external_id="reply:1").repeated
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(send, range(4))) == [False, True, True, True]
    assert (replies(talk), Delivery.objects.count()) == (["I am here"], 1)


def token(staff: Client, talk: UUID) -> str:
    """Of the form on the conversation's page as it is rendered now."""
    [found] = re.findall(r'name="token" value="([^"]+)"', page(staff, f"{TALKS}{talk}/change/"))
    return str(found)


def act_on(staff: Client, talk: UUID, form: dict[str, str]) -> str:
    return html.unescape(staff.post(f"{TALKS}{talk}/reply/", form, follow=True).content.decode())


def test_a_closed_conversation_takes_no_reply(staff: Client) -> None:
    talk = conversation()
    sessions.close(talk, by="anna")
    assert "is closed" in staff.post(f"{TALKS}{talk}/reply/", {"content": "hi"}, follow=True).content.decode()
    assert "take-over" not in page(staff, f"{TALKS}{talk}/change/")


@pytest.mark.parametrize("deed", ["take-over", "hand-back", "reply"])
def test_the_desk_takes_the_permission_a_post_and_a_token(deed: str) -> None:
    talk = conversation()
    path = f"{TALKS}{talk}/{deed}/"
    reader = may("view_conversation")
    assert f"/{deed}/" not in page(reader, f"{TALKS}{talk}/change/")
    assert reader.post(path, {"content": "hi"}).status_code == 403
    assert Client().post(path, {"content": "hi"}).status_code == 302
    user = User.objects.create_superuser("anna")
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(user)
    assert strict.post(path, {"content": "hi"}).status_code == 403
    assert strict.get(path).headers["Location"] == f"{TALKS}{talk}/change/"  # whoever had to log in comes by GET
    assert (log.count(talk), sessions.get(talk).mode) == (0, Mode.AUTO)
    lax = Client()
    lax.force_login(user)
    assert lax.post(f"{TALKS}{UUID(int=0)}/{deed}/", {"content": "hi"}).status_code == 404
