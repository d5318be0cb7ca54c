"""Who may call what: scopes, refused keys, and how often. The table of calls is read from the URL conf."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.urls import get_resolver

from config.addresses import network_of
from conversations import keys
from conversations.api import limits
from conversations.api.urls import api as ninja_api
from conversations.models import Scope
from tests.api import Caller, refused

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("kept_rows")]

NOWHERE = "01a1fa7b-d0a8-78fe-9897-711c2819520f"
SCOPES = {  # a new call without a line here fails below
    ("POST", "/api/sessions"): Scope.SESSIONS,
    ("GET", "/api/sessions/{session_id}"): Scope.READ,
    ("POST", "/api/messages/append"): Scope.APPEND,
    ("GET", "/api/sessions/{session_id}/messages"): Scope.READ,
    ("DELETE", "/api/sessions/{session_id}/messages"): Scope.CLEAR,
    ("POST", "/api/sessions/{session_id}/inbound"): Scope.INBOUND,
    ("POST", "/api/sessions/{session_id}/typing"): Scope.INBOUND,
    ("GET", "/api/sessions/{session_id}/turns"): Scope.READ,
    ("GET", "/api/sessions/{session_id}/events"): Scope.READ,
    ("GET", "/api/search"): Scope.SEARCH,
}
OPEN = {"/api/openapi.json", "/api/docs", "/api/", "/api/<path:rest>"}  # no key needed: they tell nothing


def calls() -> set[tuple[str, str]]:
    """Every call, from what Django routes."""
    found = set()
    for router in ninja_api._get_bound_routers():
        for path, view in router.path_operations.items():
            found |= {(method, f"/api{path}") for operation in view.operations for method in operation.methods}
    return found


def address() -> str:
    """A caller nobody has counted before."""
    return f"10.{secrets.randbelow(256)}.{secrets.randbelow(256)}.{secrets.randbelow(256)}"


def test_every_call_has_a_line_in_the_table_and_every_address_is_known() -> None:
    assert calls() == set(SCOPES)
    mounted = next(entry for entry in get_resolver().url_patterns if str(entry.pattern) == "api/")
    routed = {f"/api/{entry.pattern}" for entry in mounted.url_patterns}
    assert {path.replace("<", "{").replace(">", "}") for path in routed - OPEN} == {path for _, path in SCOPES}


@pytest.mark.parametrize("held", [*Scope, None])
@pytest.mark.parametrize(("method", "path"), SCOPES)
def test_a_key_may_what_its_scopes_say(held: Scope | None, method: str, path: str) -> None:
    needed = SCOPES[(method, path)]
    caller = Caller(scopes=[held] if held else set(Scope) - {needed})
    answer = caller.call(
        method, path.removeprefix("/api").format(session_id=NOWHERE), b"{}" if method == "POST" else b""
    )
    if held == needed:
        assert answer.status_code in {400, 404}  # past the door: the body is empty, the session is not there
    else:
        assert refused(answer, 403, "missing_scope")
        assert needed.value in answer.json()["detail"]


@pytest.mark.parametrize(("method", "path"), SCOPES)
@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "missing_key"),
        ("", "missing_key"),
        ("Bearer", "missing_key"),
        ("Bearer ", "missing_key"),
        ("Basic dXNlcjpwYXNz", "missing_key"),
        ("Token {token}", "missing_key"),
        ("{token}", "missing_key"),
        ("Bearer x", "invalid_key"),
        ("Bearer {token}x", "invalid_key"),
        ("Bearer {token} {token}", "invalid_key"),
        ("Bearer parley_00000000_" + "A" * 43, "invalid_key"),
        ("Bearer \xff\xfe\x00", "invalid_key"),
        ("Bearer " + "x" * 100_000, "invalid_key"),
    ],
)
def test_without_a_good_key_nothing_is_answered(method: str, path: str, header: str | None, code: str) -> None:
    token = keys.create("test", by="test")[1]
    headers = {} if header is None else {"HTTP_AUTHORIZATION": header.format(token=token)}
    client = Client(REMOTE_ADDR=address(), **headers)
    answer = client.generic(method, path.format(session_id=NOWHERE), b"{}", "application/json")
    assert refused(answer, 401, code)
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("header", ["Bearer {token}", "bearer {token}", "BEARER   {token} "])
def test_the_scheme_is_read_as_the_standard_says(header: str) -> None:
    token = keys.create("test", by="test")[1]
    client = Client(headers={"Authorization": header.format(token=token)})
    assert client.get(f"/api/sessions/{NOWHERE}").status_code == 404


def test_a_revoked_and_an_expired_key_are_refused_at_once() -> None:
    for ended in ("revoked", "expires"):
        caller = Caller(address=address())
        session = caller.session()
        assert caller.read(session).status_code == 200
        with connection.cursor() as cursor:
            cursor.execute(f"UPDATE api_keys SET {ended} = clock_timestamp() WHERE id = %s", [caller.key.pk])
        assert refused(caller.read(session), 401, "invalid_key")


def test_the_use_of_a_key_is_noted() -> None:
    caller = Caller()
    assert caller.key.last_used is None
    caller.session()
    caller.key.refresh_from_db()
    assert caller.key.last_used is not None


def test_cookies_and_staff_logins_open_nothing(admin_client: Client) -> None:
    answer = admin_client.get(f"/api/sessions/{NOWHERE}")
    assert refused(answer, 401, "missing_key")
    strict = Client(enforce_csrf_checks=True, headers={"Authorization": f"Bearer {keys.create('t', by='t')[1]}"})
    strict.cookies["csrftoken"] = strict.cookies["sessionid"] = "x" * 32
    answer = strict.post("/api/sessions", {"user_id": 1}, content_type="application/json")
    assert answer.status_code == 201
    assert not answer.cookies


def guess(client: Client, number: int) -> list[int]:
    """The answers to that many keys that nobody made."""
    path = f"/api/sessions/{NOWHERE}"
    tokens = (f"parley_{secrets.token_hex(4)}_{secrets.token_urlsafe(32)}" for _ in range(number))
    return [client.get(path, headers={"Authorization": f"Bearer {token}"}).status_code for token in tokens]


def test_guessing_keys_is_stopped_and_good_keys_at_that_address_are_not(settings: Any) -> None:
    where = address()
    answers = guess(Client(REMOTE_ADDR=where), 300)
    assert answers == [401] * settings.API_BAD_KEYS_PER_MINUTE + [429] * (300 - settings.API_BAD_KEYS_PER_MINUTE)
    assert settings.API_BAD_KEYS_PER_MINUTE < 100
    assert Caller(address=where).call("GET", f"/sessions/{NOWHERE}").status_code == 404
    assert guess(Client(REMOTE_ADDR=address()), 1) == [401]


def test_a_made_up_forwarded_address_changes_nothing(settings: Any) -> None:
    client = Client(REMOTE_ADDR=address())
    settings.API_BAD_KEYS_PER_MINUTE = 5
    answers = []
    for _ in range(10):
        client.defaults["HTTP_X_FORWARDED_FOR"] = address()
        answers += guess(client, 1)
    assert answers == [401] * 5 + [429] * 5


@pytest.mark.parametrize(
    ("proxies", "forwarded", "remote", "expected"),
    [
        (0, "1.1.1.1", "9.9.9.9", "9.9.9.9"),
        (1, "1.1.1.1", "9.9.9.9", "1.1.1.1"),
        (1, "6.6.6.6, 1.1.1.1", "9.9.9.9", "1.1.1.1"),
        (2, "6.6.6.6, 1.1.1.1, 8.8.8.8", "9.9.9.9", "1.1.1.1"),
        (2, "1.1.1.1", "9.9.9.9", "9.9.9.9"),
        (1, "", "9.9.9.9", "9.9.9.9"),
        (1, "<script>", "9.9.9.9", "unknown"),
        (0, "", "", "unknown"),
        (0, "", "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        (0, "", "::ffff:9.9.9.9", "9.9.9.9"),
    ],
)
def test_where_a_caller_is(settings: Any, proxies: int, forwarded: str, remote: str, expected: str) -> None:
    settings.TRUSTED_PROXIES = proxies
    request: HttpRequest = RequestFactory(REMOTE_ADDR=remote, HTTP_X_FORWARDED_FOR=forwarded).get("/")
    assert network_of(request) == expected


def test_a_key_has_so_many_calls_a_minute_of_each_kind(settings: Any) -> None:
    settings.API_READS_PER_MINUTE = 7
    settings.API_WRITES_PER_MINUTE = 3
    caller, other = Caller(), Caller()
    reads = [caller.call("GET", f"/sessions/{NOWHERE}") for _ in range(9)]
    assert [answer.status_code for answer in reads] == [404] * 7 + [429] * 2
    assert refused(reads[-1], 429, "too_many_requests")
    assert 1 <= int(reads[-1].headers["Retry-After"]) <= 60
    writes = [caller.call("DELETE", f"/sessions/{NOWHERE}/messages").status_code for _ in range(4)]
    assert writes == [404] * 3 + [429]
    assert other.call("GET", f"/sessions/{NOWHERE}").status_code == 404


@pytest.fixture
def other_processes() -> Iterator[Any]:
    """Spends from purses nobody has filled, as another process would."""

    def spend(subject: str, limit: int) -> int:
        limits._purses.pop(("test", subject), None)
        return limits.spend("test", subject, limit)

    yield spend
    limits._purses.clear()


def test_all_processes_together_stay_within_the_limit(other_processes: Any) -> None:
    """Fifty draws of a fiftieth each are all there is, whoever draws them."""
    subject = secrets.token_hex(8)
    waits = [other_processes(subject, 500) for _ in range(60)]
    assert [wait == 0 for wait in waits] == [True] * 50 + [False] * 10


def test_a_limit_that_is_no_multiple_of_the_handful_is_kept(other_processes: Any) -> None:
    subject = secrets.token_hex(8)
    assert sum(limits.spend("test", subject, 119) == 0 for _ in range(200)) == 119


def test_threads_share_one_purse_without_losing_count() -> None:
    subject = secrets.token_hex(8)

    def spend(_number: int) -> bool:
        try:
            return limits.spend("test", subject, 300) == 0
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        granted = sum(pool.map(spend, range(500)))
    assert granted <= 300
    # A handful that was on its way while the others were told to wait is still there to be spent.
    assert granted + sum(limits.spend("test", subject, 300) == 0 for _ in range(100)) == 300


def test_the_next_minute_starts_anew_and_old_counts_are_swept() -> None:
    subject = secrets.token_hex(8)
    assert [limits.spend("test", subject, 1) == 0 for _ in range(2)] == [True, False]
    with connection.cursor() as cursor:
        cursor.execute("UPDATE api_spending SET ends_at = clock_timestamp() - interval '2 minutes'")
        limits._purses.clear()
        assert limits.spend("test", subject, 1) == 0
        for _ in range(30):
            limits.spend("test", secrets.token_hex(8), 1)
        cursor.execute("SELECT count(*) FROM api_spending WHERE ends_at < clock_timestamp()")
        assert cursor.fetchone() == (0,)


def test_no_limit_costs_no_query(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert limits.spend("test", "x", 0) == 0


def test_almost_no_call_writes_its_count(django_assert_max_num_queries: Any) -> None:
    subject = secrets.token_hex(8)
    with django_assert_max_num_queries(10):
        assert not any(limits.spend("test", subject, 5_000) for _ in range(1_000))
