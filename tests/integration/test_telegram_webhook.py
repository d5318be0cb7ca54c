"""The webhook: strangers learn nothing, Telegram hears 200 only of what is committed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
from django.core.management import CommandError, call_command
from django.db import OperationalError
from django.test import Client, override_settings

from conversations.channels.telegram import updates, webhook
from conversations.models import ChannelUpdate, Message
from tests.fake_telegram import BOT_ID, TOKEN, Fake, telegram, update
from tests.processes import manage

pytestmark = pytest.mark.django_db
HERE = f"/telegram/webhook/{BOT_ID}"


@pytest.fixture(autouse=True)
def bot(settings: Any) -> None:
    settings.TELEGRAM_BOT_TOKEN = TOKEN


def bring(raw: Any, *, secret: str | None = None, path: str = HERE, **headers: str) -> Any:
    body = raw if isinstance(raw, bytes) else json.dumps(raw).encode()
    given = webhook.secret(BOT_ID) if secret is None else secret
    if given:
        headers["X-Telegram-Bot-Api-Secret-Token"] = given
    return Client(raise_request_exception=False, enforce_csrf_checks=True).post(
        path, body, content_type="application/json", headers=headers
    )


def test_an_update_is_stored_and_acknowledged_and_a_repeat_is_nothing_new() -> None:
    for outcome in ("message", "repeated", "repeated"):
        response = bring(update(1, "hello"))
        assert (response.status_code, response.json()["outcome"]) == (200, outcome)
    assert Message.objects.get().content == "hello"
    assert bring(update(2, "by name"), path="/telegram/webhook/telegram").status_code == 200


@pytest.mark.parametrize("secret", ["", "wrong", "x" * 300, "ünïcode", webhook.secret(BOT_ID)[:-1]])
def test_a_wrong_secret_is_refused_before_anything_is_read(secret: str) -> None:
    with patch.object(updates, "take") as taken, patch.object(json, "loads") as parsed:
        response = bring(update(1), secret=secret)
    assert response.status_code == 403
    assert not taken.called
    assert not parsed.called
    assert not ChannelUpdate.objects.exists()


def test_another_bot_and_no_bot_at_all_are_not_here(settings: Any) -> None:
    assert bring(update(1), path="/telegram/webhook/42").status_code == 404
    assert Client().get(HERE).status_code == 405
    settings.TELEGRAM_BOT_TOKEN = ""
    assert bring(update(1)).status_code == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b"{}", 400),
        (b"\xff\xfe", 400),
        (b'{"update_id": 1}', 200),
        (b"[" * 5000 + b"]" * 5000, 400),
        (b'{"update_id": 1, "message": {"text": "\\ud800"}}', 200),
        (b'{"update_id": 1, "x": ' + b"1" * 6000 + b"}", 400),
        (b'{"update_id": 1, "x": NaN}', 200),
        (b" " * (1024 * 1024 + 1), 413),
    ],
)
def test_no_body_is_a_server_error(body: bytes, status: int) -> None:
    assert bring(body).status_code == status
    assert bring(update(2, "the next one")).status_code == 200
    assert Message.objects.get().content == "the next one"


def test_while_the_database_is_away_telegram_is_asked_to_come_again() -> None:
    with patch.object(updates, "_claim", side_effect=OperationalError("gone")):
        response = bring(update(1))
    assert (response.status_code, response.headers["Retry-After"]) == (503, "5")
    assert response.json()["error"] == "database_unavailable"
    assert bring(update(1)).json()["outcome"] == "message"


def test_the_secret_of_a_former_key_still_opens_and_one_bot_s_does_not_open_another_s(settings: Any) -> None:
    old = webhook.secret(BOT_ID)
    assert webhook.SECRET.fullmatch(old)
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "n" * 60, [settings.SECRET_KEY]
    assert webhook.secret(BOT_ID) != old
    assert bring(update(1), secret=old).status_code == 200
    assert bring(update(2), secret=webhook.secret(BOT_ID + 1)).status_code == 403
    settings.TELEGRAM_WEBHOOK_SECRET = "a-given_one"
    assert bring(update(3), secret="a-given_one").status_code == 200
    assert bring(update(4), secret=old).status_code == 403


# --- the command that sets it ---
@pytest.fixture
def fake() -> Iterator[Fake]:
    with telegram() as one, override_settings(TELEGRAM_API_URL=one.url):
        yield one


def test_the_webhook_is_set_shown_and_removed(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("telegram", "hook", "https://parley.example.org/")
    assert (fake.webhook, fake.secret) == (f"https://parley.example.org{HERE}", webhook.secret(BOT_ID))
    assert fake.calls["setMyCommands"] == 2
    call_command("telegram", "status")
    assert "@parley_test_bot" in capsys.readouterr().out
    call_command("telegram", "unhook")
    assert fake.webhook == ""


def test_what_telegram_would_refuse_is_told_before(fake: Fake, settings: Any) -> None:
    with pytest.raises(CommandError, match="https"):
        call_command("telegram", "hook", "http://parley.example.org")
    settings.TELEGRAM_WEBHOOK_SECRET = "with spaces"
    with pytest.raises(CommandError, match="letters"):
        call_command("telegram", "hook", "https://parley.example.org")
    settings.TELEGRAM_BOT_TOKEN = TOKEN[:-1] + "x"
    with pytest.raises(CommandError, match="Telegram says") as caught:
        call_command("telegram", "status")
    assert TOKEN[:-1] not in str(caught.value)
    settings.TELEGRAM_BOT_TOKEN = ""
    with pytest.raises(CommandError, match="@BotFather"):
        call_command("telegram", "status")


def test_the_command_needs_no_library_to_explain_itself() -> None:
    with manage("telegram", "--help") as command:
        assert "hook" in command.everything()
