"""Keys: made once, shown once, found again by their hash alone, and gone within a request."""

from __future__ import annotations

import re
import sys
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from config import rls
from conversations import keys
from conversations.models import ApiKey, Scope
from tests import raw
from tests.processes import running

pytestmark = pytest.mark.django_db


def command(*arguments: str) -> str:
    said = StringIO()
    call_command("apikey", *arguments, stdout=said)
    return said.getvalue()


def token_in(text: str) -> str:
    return re.search(r"parley_\S+", text).group(0)  # type: ignore[union-attr]


def test_a_key_is_recognised_and_only_its_hash_is_stored() -> None:
    key, token = keys.create("shop", by="test")
    assert re.fullmatch(r"parley_[0-9a-z]{8}_[\w-]{43}", token)
    caller = keys.authenticate(token)
    assert (caller.key_id, caller.name, caller.prefix, caller.user_id) == (key.pk, "shop", key.prefix, None)
    assert caller.scopes == frozenset(Scope.values)
    with connection.cursor() as cursor:
        cursor.execute("SELECT api_keys::text FROM api_keys")
        (row,) = cursor.fetchone()
    assert token.removeprefix(f"parley_{key.prefix}_") not in row
    assert keys.create("shop", by="test")[1] != token


SPOILT = ["{0}A", " {0}", "", "{1}", "parley_{2}_" + "A" * 43, "parley_zzzzzzzz_" + "A" * 43, "ключ", "{0}\0", "\ud800"]


@pytest.mark.parametrize("spoilt", SPOILT)
def test_anything_but_the_token_is_refused_in_the_same_words(spoilt: str) -> None:
    key, token = keys.create("shop", by="test")
    with pytest.raises(keys.KeyRefusedError, match=r"^The API key is not valid\.$"):
        keys.authenticate(spoilt.format(token, token.removeprefix("parley_"), key.prefix))


def test_an_unknown_prefix_costs_the_same_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr(keys.hmac, "compare_digest", lambda a, b: compared.append((len(a), len(b))) or a == b)
    _, token = keys.create("shop", by="test")
    for wrong in (token[:-1] + "!", token[:16] + "A" * 43, "parley_zzzzzzzz_" + "A" * 43, "nonsense"):
        with pytest.raises(keys.KeyRefusedError):
            keys.authenticate(wrong)
    assert compared == [(64, 64)] * 4


def test_revoked_and_expired_keys_are_refused() -> None:
    revoked, token = keys.create("a", by="test")
    keys.authenticate(token)
    keys.revoke(revoked.prefix, by="test")
    keys.revoke(revoked.prefix, by="test")
    _, expired = keys.create("b", by="test", expires_in=timedelta(microseconds=1))
    for dead in (token, expired):
        with pytest.raises(keys.KeyRefusedError):
            keys.authenticate(dead)
    with pytest.raises(keys.KeyNotFoundError):
        keys.revoke("zzzzzzzz", by="test")
    assert {keys.state(key) for key in keys.every()} == {"revoked", "expired"}


def test_a_rotated_key_overlaps_with_its_successor() -> None:
    old, old_token = keys.create("shop", by="test", user_id=7, scopes=["read"])
    new, new_token = keys.rotate(old.prefix, by="test", overlap=timedelta(days=1))
    callers = [keys.authenticate(token) for token in (old_token, new_token)]
    assert [(caller.name, caller.user_id, caller.scopes) for caller in callers] == [("shop", 7, {"read"})] * 2
    old.refresh_from_db()
    assert old.expires is not None
    assert new.expires is None
    keys.rotate(new.prefix, by="test", overlap=timedelta(0))
    with pytest.raises(keys.KeyRefusedError):
        keys.authenticate(new_token)
    with pytest.raises(keys.KeyNotFoundError):
        keys.rotate(new.prefix, by="test")


def test_rotation_never_lengthens_a_life() -> None:
    key, _ = keys.create("shop", by="test", expires_in=timedelta(hours=1))
    before = key.expires
    keys.rotate(key.prefix, by="test", overlap=timedelta(days=7))
    key.refresh_from_db()
    assert key.expires == before


def test_the_use_is_noted_once_a_minute() -> None:
    key, token = keys.create("shop", by="test")
    keys.authenticate(token)
    key.refresh_from_db()
    first = key.last_used
    assert first is not None
    keys.authenticate(token)
    key.refresh_from_db()
    assert key.last_used == first
    ApiKey.objects.update(last_used=first - timedelta(seconds=61))
    keys.authenticate(token)
    key.refresh_from_db()
    assert key.last_used is not None
    assert key.last_used > first - timedelta(seconds=61)


def test_a_database_that_takes_no_writes_still_recognises_keys(caplog: pytest.LogCaptureFixture) -> None:
    _, token = keys.create("shop", by="test")
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")  # the record of the key's making is chained now, not at commit
        cursor.execute("SET LOCAL transaction_read_only = on")
    assert keys.authenticate(token).name == "shop"
    assert "not noted" in caplog.text


def test_user_bound_keys_need_a_database_that_keeps_users_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    _, bound = keys.create("bot", by="test", user_id=1)
    _, service = keys.create("service", by="test")
    monkeypatch.setattr(keys, "_isolation_seen", False)
    monkeypatch.setattr(rls, "MAY_ENTER", "SELECT false")
    assert keys.authenticate(service).user_id is None
    with pytest.raises(keys.IsolationUnavailableError, match="parley_client"):
        keys.authenticate(bound)
    monkeypatch.undo()
    assert keys.authenticate(bound).user_id == 1


@pytest.mark.django_db(transaction=True)
def test_another_process_refuses_a_revoked_key_at_once() -> None:
    key, token = keys.create("shop", by="test")
    script = (
        "import django, sys; django.setup()\n"
        "from conversations import keys\n"
        "for line in sys.stdin:\n"
        "    try: keys.authenticate(line.strip()); print('welcome', flush=True)\n"
        "    except keys.KeyRefusedError: print('refused', flush=True)\n"
    )
    variables = {"DATABASE_URL": raw.url(), "DJANGO_SETTINGS_MODULE": "config.settings"}
    with running(sys.executable, "-c", script, **variables) as other:
        assert other.process.stdin
        for state in ("welcome", "welcome", "refused"):
            if state == "refused":
                keys.revoke(key.prefix, by="test")
            other.process.stdin.write(f"{token}\n")
            other.process.stdin.flush()
            assert other.wait_for("welcome|refused").group(0) == state


def test_the_command_makes_lists_rotates_and_revokes() -> None:
    made = command("create", "my shop", "--user-id", "7", "--scopes", "read", "search", "--expires", "30")
    token = token_in(made)
    caller = keys.authenticate(token)
    assert (caller.name, caller.user_id, caller.scopes) == ("my shop", 7, {"read", "search"})
    listed = command("list")
    assert all(part in listed for part in (caller.prefix, "live", "user 7", "my shop", "[read search]"))
    assert token not in listed
    successor = keys.authenticate(token_in(command("rotate", caller.prefix, "--overlap", "1")))
    assert command("revoke", successor.prefix) == f"{successor.prefix} is revoked.\n"
    assert "revoked" in command("list")


@pytest.mark.parametrize(
    "arguments",
    [
        ["create"],
        ["create", "x", "--scopes", "root"],
        ["create", "x", "--user-id", "abc"],
        ["create", "x", "--user-id", str(2**63)],
        ["create", "x" * 101],
        ["create", ""],
        ["create", "x", "--expires", "-1"],
        ["create", "x", "--expires", "soon"],
        ["revoke", "zzzzzzzz"],
        ["rotate", "zzzzzzzz"],
        [],
    ],
)
def test_the_command_says_what_is_wrong(arguments: list[str]) -> None:
    with pytest.raises(CommandError):
        command(*arguments)
    assert not ApiKey.objects.exists()
