"""What Telegram may answer to a message, and what we know after it: against a server that really breaks connections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.test import override_settings

from conversations import sessions
from conversations.channels import Address, ChannelUnavailableError, Later, Lost, Refused, Sent, channel
from conversations.channels.telegram import client
from conversations.channels.telegram.markup import html
from conversations.channels.telegram.transport import Telegram, connect
from conversations.models import ChatMove
from tests.fake_telegram import TOKEN, Fake, shown, telegram

SOMEBODY = Address(7, 7, UUID(int=7))


@pytest.fixture
def fake() -> Iterator[Fake]:
    with telegram() as one:
        yield one


@pytest.fixture
def bot(fake: Fake) -> Iterator[Telegram]:
    with override_settings(TELEGRAM_BOT_TOKEN=TOKEN, TELEGRAM_API_URL=fake.url):
        one = connect()
        yield one
        one.close()


def test_a_text_arrives_as_it_is(bot: Telegram, fake: Fake) -> None:
    text = "1 < 2 && <b>no tag</b> &amp; *stars* _lines_ [a](http://x) `"
    assert bot.send(SOMEBODY, text, key="k") == Sent("1")
    assert fake.texts() == [text]


def test_bold_and_code_are_shown_and_whatever_is_unpaired_stays(bot: Telegram, fake: Fake) -> None:
    bot.send(SOMEBODY, "**bold** and `x < y`\n```python\nprint('<b>')\n```\n**open", key="k")
    assert fake.texts() == ["bold and x < y\nprint('<b>')\n**open"]
    assert "<b>bold</b>" in fake.accepted[0].params["text"]


@pytest.mark.parametrize(
    "text", ["*_[`", "<b>", "</b>&lt;", "**" * 3000, "`" * 4000, "**a** " * 500, "&#x27;&bogus;", "```\n```", "** **"]
)
def test_no_markup_of_any_kind_is_refused(bot: Telegram, fake: Fake, text: str) -> None:
    assert isinstance(bot.send(SOMEBODY, text[:4096], key="k"), Sent)
    assert shown(html(text)).replace("*", "").replace("`", "").strip() == text.replace("*", "").replace("`", "").strip()


def test_refused_markup_is_sent_once_more_as_plain_text(bot: Telegram, fake: Fake) -> None:
    fake.faults.append("markup")
    assert isinstance(bot.send(SOMEBODY, "**hello**", key="k"), Sent)
    assert fake.texts() == ["**hello**"]
    assert fake.calls["sendMessage"] == 2


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("429", Later(3.0, "Flood control exceeded. Retry in 0:00:03")),
        ("500", Later(0.0, "Internal Server Error: sendMessage failed")),
        ("403", Refused("Forbidden: bot was blocked by the user", gone=True)),
        ("400", Refused("Chat not found", gone=True)),
        ("401", Later(60.0, "Unauthorized", everybody=True)),
    ],
)
def test_each_answer_means_what_it_means(bot: Telegram, fake: Fake, fault: str, expected: object) -> None:
    fake.faults.append(fault)
    assert bot.send(SOMEBODY, "hello", key="k") == expected
    assert fake.texts() == []
    assert isinstance(bot.send(SOMEBODY, "hello", key="k"), Sent)


def test_an_answer_that_was_lost_is_lost(bot: Telegram, fake: Fake) -> None:
    fake.faults.append("lost")
    assert isinstance(bot.send(SOMEBODY, "hello", key="k"), Lost)
    assert fake.texts() == ["hello"]


def test_a_page_of_a_proxy_leaves_it_unknown_and_no_traceback(
    bot: Telegram, fake: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    fake.faults.append("502")
    result = bot.send(SOMEBODY, "hello", key="k")
    assert result == Lost("Something between us and Telegram answered in its place: Bad Gateway (502)")
    assert not [record for record in caplog.records if record.exc_info]


def test_an_answer_that_is_late_is_lost(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "READ", 0.2)
    fake.faults.append("slow")
    with override_settings(TELEGRAM_BOT_TOKEN=TOKEN, TELEGRAM_API_URL=fake.url):
        bot = connect()
        assert isinstance(bot.send(SOMEBODY, "hello", key="k"), Lost)
        bot.close()
    assert fake.texts() == ["hello"]


def test_what_never_left_is_not_lost(fake: Fake, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with override_settings(TELEGRAM_BOT_TOKEN=TOKEN, TELEGRAM_API_URL="http://127.0.0.1:9"):
        bot = connect()
        assert bot.send(SOMEBODY, "hello", key="k") == Later(
            0.0, "Telegram cannot be reached: ConnectError", everybody=True
        )
        bot.close()
    with telegram(tls=tmp_path) as secure:
        monkeypatch.setenv("SSL_CERT_FILE", secure.certificate)
        with override_settings(TELEGRAM_BOT_TOKEN=TOKEN, TELEGRAM_API_URL=secure.url):
            bot = connect()
            secure.at_connect = lambda: "reset"
            assert isinstance(bot.send(SOMEBODY, "hello", key="k"), Later)
            secure.at_connect = None
            assert isinstance(bot.send(SOMEBODY, "hello", key="k"), Sent)
            bot.close()
        assert secure.texts() == ["hello"]


def test_a_topic_a_business_account_and_a_group_are_answered_where_they_wrote(bot: Telegram, fake: Fake) -> None:
    known = {"telegram": {"thread_id": 5, "business_connection_id": "b", "reply_to": 9}}
    bot.send(Address(-100, 7, UUID(int=7), known), "hello", key="k")
    params = fake.accepted[0].params
    assert (params["message_thread_id"], params["business_connection_id"]) == ("5", "b")
    assert '"message_id": 9' in params["reply_parameters"]
    assert "link_preview_options" in params


def test_typing_is_shown_and_its_failure_is_nobodys_affair(bot: Telegram, fake: Fake) -> None:
    bot.show_typing(SOMEBODY)
    assert [action["action"] for action in fake.actions] == ["typing"]
    fake.at_connect = lambda: "reset"
    bot.show_typing(SOMEBODY)


@pytest.mark.django_db
def test_a_group_that_became_a_supergroup_is_followed(bot: Telegram, fake: Fake) -> None:
    talk, _ = sessions.open(7, channel="telegram", chat_id=-5)
    fake.migrated[-5] = -1005
    assert isinstance(bot.send(Address(-5, 7, talk.pk), "hello", key="k"), Later)
    talk.refresh_from_db()
    assert talk.chat_id == -1005
    assert ChatMove.objects.get().new_chat_id == -1005


@pytest.mark.parametrize(("token", "says"), [("", "not set"), ("hello", "no token")])
def test_a_missing_or_mistyped_token_is_told_in_words(token: str, says: str, settings: Any) -> None:
    settings.TELEGRAM_BOT_TOKEN = token
    with pytest.raises(ChannelUnavailableError, match=says):
        channel("telegram").transport()


def test_no_reason_tells_the_token(fake: Fake) -> None:
    with override_settings(TELEGRAM_BOT_TOKEN=TOKEN, TELEGRAM_API_URL=fake.url + "/nowhere"):
        bot = connect()
        result = bot.send(SOMEBODY, "hello", key="k")
        bot.close()
    assert not isinstance(result, Sent)
    assert TOKEN not in repr(result)
