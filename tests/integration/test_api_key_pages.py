"""Keys in the admin: made by a form, shown once, ended at once, and never told again."""

from __future__ import annotations

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.contrib.sessions.models import Session
from django.test import Client

from conversations import keys
from conversations.models import ApiKey, Scope

KEYS = "/admin/conversations/apikey/"
TOKEN = re.compile(r"parley_[0-9a-z]{8}_[0-9A-Za-z_-]{43}")
FORM = {"name": "CRM", "user_id": "", "scopes": ["read", "append"], "days": ""}
pytestmark = pytest.mark.django_db


def made(client: Client, **changes: object) -> str:
    response = client.post(f"{KEYS}add/", {**FORM, **changes})
    assert response.status_code == 200
    found = TOKEN.findall(response.content.decode())
    assert len(found) == 1, response.content.decode()
    assert "no-store" in response["Cache-Control"]
    return str(found[0])


def test_a_key_is_shown_once_and_works(staff: Client) -> None:
    token = made(staff, user_id="42", days="30")
    caller = keys.authenticate(token)
    assert (caller.name, caller.user_id, caller.scopes) == ("CRM", 42, {"read", "append"})
    key = ApiKey.objects.get()
    assert key.expires
    assert (key.expires - key.created_at).days in {29, 30}
    secret = token.split("_", 2)[2]
    pages = [KEYS, f"{KEYS}{key.pk}/change/", f"{KEYS}{key.pk}/history/", "/admin/", "/admin/search/?extended=1&s=crm"]
    for path in pages:
        page = staff.get(path).content.decode()
        assert secret not in page
        assert key.hash not in page
        assert key.hash[:16] not in page
    stored = [
        *Session.objects.values_list("session_data", flat=True),
        *LogEntry.objects.values_list("change_message", "object_repr"),
    ]
    assert secret not in str(stored)
    assert not any(secret in str(cookie) for cookie in staff.cookies.values())


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"name": "a\0b"},
        {"user_id": "9223372036854775808"},
        {"user_id": "x"},
        {"user_id": "1.5"},
        {"scopes": []},
        {"scopes": ["everything"]},
        {"days": "0"},
        {"days": "-1"},
        {"days": "99999999999"},
        {"days": "x"},
    ],
    ids=str,
)
def test_a_form_that_makes_no_sense_makes_no_key(staff: Client, changes: dict[str, object]) -> None:
    response = staff.post(f"{KEYS}add/", {**FORM, **changes})
    assert response.status_code == 200
    assert not TOKEN.search(response.content.decode())
    assert not ApiKey.objects.exists()
    assert made(staff)


def test_unknown_fields_of_the_form_are_not_taken(staff: Client) -> None:
    made(staff, hash="0" * 64, prefix="aaaaaaaa", revoked="2020-01-01", last_used="2020-01-01")
    key = ApiKey.objects.get()
    assert (key.revoked, key.last_used) == (None, None)
    assert key.prefix != "aaaaaaaa"


def test_revoking_takes_a_post_and_works_at_once(staff: Client) -> None:
    token = made(staff)
    key = ApiKey.objects.get()
    assert staff.get(f"{KEYS}{key.pk}/revoke/").status_code == 405
    keys.authenticate(token)
    assert staff.post(f"{KEYS}{key.pk}/revoke/").status_code == 302
    with pytest.raises(keys.KeyRefusedError):
        keys.authenticate(token)
    page = staff.get(f"{KEYS}{key.pk}/change/").content.decode()
    assert "revoked" in page
    assert "key-actions" not in page
    assert staff.post(f"{KEYS}{key.pk}/revoke/").status_code == 302


def test_replacing_gives_a_new_key_with_the_same_rights(staff: Client) -> None:
    old = made(staff, user_id="42")
    key = ApiKey.objects.get()
    new = TOKEN.findall(staff.post(f"{KEYS}{key.pk}/replace/").content.decode())[0]
    assert new != old
    assert keys.authenticate(new).scopes == keys.authenticate(old).scopes
    key.refresh_from_db()
    assert key.expires
    staff.post(f"{KEYS}{key.pk}/revoke/")
    assert staff.post(f"{KEYS}{key.pk}/replace/").status_code == 302


def test_the_forms_want_their_token(staff: Client) -> None:
    key, _token = keys.create("CRM", by="anna")
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(User.objects.get(username="anna"))
    for action in ("revoke", "replace"):
        assert strict.post(f"{KEYS}{key.pk}/{action}/").status_code == 403
    assert strict.post(f"{KEYS}add/", FORM).status_code == 403
    assert ApiKey.objects.filter(revoked=None).count() == 1


@pytest.mark.parametrize(
    ("permission", "may"),
    [("view_apikey", {"see"}), ("add_apikey", {"make"}), ("change_apikey", {"see", "end"}), (None, set())],
)
def test_each_permission_allows_its_own(permission: str | None, may: set[str]) -> None:
    key, _token = keys.create("CRM", by="somebody")
    user = User.objects.create(username="guest", is_staff=True)
    if permission:
        user.user_permissions.add(Permission.objects.get(codename=permission))
    client = Client()
    client.force_login(user)
    allowed = {
        "see": client.get(f"{KEYS}{key.pk}/change/").status_code == 200,
        "make": client.get(f"{KEYS}add/").status_code == 200,
        "end": client.post(f"{KEYS}{key.pk}/revoke/").status_code == 302,
    }
    assert {name for name, yes in allowed.items() if yes} == may
    assert client.post(f"{KEYS}{key.pk}/delete/").status_code == 403


def test_a_key_is_never_edited(staff: Client) -> None:
    key, _token = keys.create("CRM", by="anna")
    staff.post(f"{KEYS}{key.pk}/change/", {**FORM, "name": "other", "scopes": list(Scope.values)})
    key.refresh_from_db()
    assert key.name == "CRM"


@pytest.mark.parametrize("path", ["x", "0", "00000000-0000-0000-0000-000000000000", "%00"])
def test_a_key_that_is_not_there(staff: Client, path: str) -> None:
    assert staff.get(f"{KEYS}{path}/change/").status_code in {302, 400, 404}
    assert staff.post(f"{KEYS}{path}/revoke/").status_code in {302, 404}


def test_states_are_told_in_both_languages(staff: Client) -> None:
    keys.create("one", by="anna")
    keys.revoke(ApiKey.objects.get().prefix, by="anna")
    assert "revoked" in staff.get(KEYS).content.decode()
    assert "отозван" in staff.get(KEYS, headers={"accept-language": "ru"}).content.decode()
