"""The staff login: guessing is stopped, sessions end, and nobody is told more than they should know."""

import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client, override_settings
from django.utils import timezone

from config import logins, sessions

LOGIN = "/admin/login/"
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def cheap_hashes(settings) -> None:
    """A real hash costs half a second, and nothing here is about its strength."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def staff() -> User:
    return User.objects.create_superuser("anna", "anna@example.org", "right horse")


def attempt(password: str = "wrong", username: str = "anna", client: Client | None = None, **extra: str):
    return (client or Client()).post(LOGIN, {"username": username, "password": password, "next": "/admin/"}, **extra)


def said(response) -> str:
    """The page's words, without what differs per request."""
    text = re.sub(r'name="csrfmiddlewaretoken" value="[^"]+"', "", response.content.decode())
    return text.replace("nobody", "anna")


def test_the_sixth_try_is_locked_even_with_the_right_password(staff: User) -> None:
    for _ in range(5):
        assert "Too many tries" not in said(attempt())
    response = attempt("right horse")
    assert "Too many tries. Please wait 15 minutes." in said(response)
    assert "_auth_user_id" not in response.client.session


def test_the_lock_is_told_in_russian(staff: User) -> None:
    for _ in range(6):
        response = attempt(HTTP_ACCEPT_LANGUAGE="ru")
    assert "Слишком много попыток. Подождите 15 минут." in said(response)


def test_an_unknown_user_hears_the_same(staff: User) -> None:
    for _ in range(7):
        assert said(attempt(username="anna")) == said(attempt(username="nobody"))


def test_the_lock_is_for_one_account_from_one_address(staff: User) -> None:
    User.objects.create_superuser("boris", "b@example.org", "other horse")
    for _ in range(6):
        attempt()
    assert attempt("right horse", REMOTE_ADDR="10.1.1.1").status_code == 302
    assert attempt("other horse", "boris").status_code == 302


def test_a_forged_forwarded_header_changes_nothing(staff: User) -> None:
    for number in range(6):
        response = attempt(HTTP_X_FORWARDED_FOR=f"10.0.0.{number}")
    assert "Too many tries" in said(response)


@override_settings(TRUSTED_PROXIES=1)
def test_behind_a_proxy_its_own_word_counts_and_the_callers_does_not(staff: User) -> None:
    for number in range(6):
        response = attempt(HTTP_X_FORWARDED_FOR=f"10.0.0.{number}, 192.0.2.7")
    assert "Too many tries" in said(response)
    assert attempt("right horse", HTTP_X_FORWARDED_FOR="10.0.0.1, 192.0.2.8").status_code == 302


def test_the_right_password_clears_the_slate(staff: User) -> None:
    for _ in range(4):
        attempt()
    assert attempt("right horse").status_code == 302
    for _ in range(4):
        attempt()
    assert attempt("right horse").status_code == 302


def test_the_lock_ends_and_tries_meanwhile_do_not_prolong_it(staff: User) -> None:
    for _ in range(5):
        attempt()
    _let_pass("14 minutes 59 seconds")
    assert "Too many tries" in said(attempt("right horse"))
    _let_pass("2 seconds")
    assert attempt("right horse").status_code == 302


def test_only_a_keyed_hash_of_the_name_is_kept_and_stale_rows_go(staff: User) -> None:
    attempt(username="my secret password")
    _let_pass("16 minutes")
    attempt(username="anna")
    with connection.cursor() as cursor:
        cursor.execute("SELECT username_hash FROM login_attempts")
        rows = cursor.fetchall()
    assert len(rows) == 3  # the account from here, the network, the account from everywhere: of the last try alone
    assert all(re.fullmatch("[0-9a-f]{64}", row[0]) for row in rows)


@pytest.mark.django_db(transaction=True)
def test_of_twenty_simultaneous_guesses_five_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = []

    def guess(_: int) -> None:
        try:
            allowed.append(logins.claim("anna", "192.0.2.1"))
        finally:
            connection.close()

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(guess, range(20)))
    assert allowed.count(True) == 5
    assert len(allowed) == 20


def test_a_whole_ipv6_network_has_five_tries(staff: User) -> None:
    for number in range(5):
        attempt(REMOTE_ADDR=f"2001:db8::{number + 1:x}")
    assert "Too many tries" in said(attempt("right horse", REMOTE_ADDR="2001:db8::ffff"))
    assert attempt("right horse", REMOTE_ADDR="2001:db8:0:1::1").status_code == 302


def test_thirty_names_are_looked_at_from_one_network(staff: User) -> None:
    for number in range(30):
        assert "Too many tries" not in said(attempt(username=f"name{number}", REMOTE_ADDR="192.0.2.1"))
    assert "Too many tries" in said(attempt(username="name30", REMOTE_ADDR="192.0.2.1"))
    assert "Too many tries" not in said(attempt(username="name30", REMOTE_ADDR="192.0.2.2"))


def test_an_office_behind_one_address_logs_in(staff: User) -> None:
    for _ in range(40):
        assert attempt("right horse", REMOTE_ADDR="192.0.2.1").status_code == 302


def test_an_account_guessed_from_everywhere_stays_open_to_a_browser_that_knows_it(staff: User) -> None:
    known = Client()
    assert attempt("right horse", client=known, REMOTE_ADDR="192.0.2.1").status_code == 302
    known.post("/admin/logout/")
    for number in range(51):
        attempt(REMOTE_ADDR=f"198.51.{number}.1")
    assert "Too many tries" in said(attempt("right horse", REMOTE_ADDR="203.0.113.1"))
    assert attempt("right horse", client=known, REMOTE_ADDR="203.0.113.2").status_code == 302


def test_one_network_alone_locks_an_account_for_itself_only(staff: User) -> None:
    for _ in range(60):
        attempt(REMOTE_ADDR="198.51.100.9")
    assert attempt("right horse", REMOTE_ADDR="203.0.113.5").status_code == 302


def test_a_mark_of_another_account_opens_nothing(staff: User) -> None:
    User.objects.create_superuser("bert", password="right horse")
    known = Client()
    assert attempt("right horse", username="bert", client=known).status_code == 302
    for number in range(51):
        attempt(REMOTE_ADDR=f"198.51.{number}.1")
    assert "Too many tries" in said(attempt("right horse", client=known, REMOTE_ADDR="203.0.113.1"))


@pytest.mark.django_db(transaction=True)
def test_no_connection_is_held_and_two_passwords_at_most_are_hashed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    User.objects.create_superuser("anna", password="right horse")
    at_once, most, held = 0, 0, []
    lock = threading.Lock()

    def slow(self: User, _password: str) -> bool:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        held.append(connection.connection is not None)
        time.sleep(0.05)  # the hash; whether another one runs beside it is the question
        with lock:
            at_once -= 1
        return False

    monkeypatch.setattr(User, "check_password", slow)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: (attempt(REMOTE_ADDR=f"203.0.113.{number + 100}"), connection.close()), range(8)))
    assert (most, held) == (2, [False] * 8)


def test_a_right_password_that_nobody_had_time_to_hash_is_no_guess(
    staff: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logins, "HASH_WAIT", 0.01)
    with logins.HASHES, logins.HASHES:
        for _ in range(8):
            assert "try again in a minute" in said(attempt("right horse", REMOTE_ADDR="198.51.100.7"))
    assert attempt("right horse", REMOTE_ADDR="198.51.100.7").status_code == 302


def test_logging_in_changes_the_session_key(staff: User) -> None:
    client = Client()
    client.get(LOGIN)
    session = client.session
    session["planted"] = True
    session.save()
    client.cookies[settings.SESSION_COOKIE_NAME] = session.session_key
    attempt("right horse", client=client)
    assert client.session.session_key != session.session_key
    assert not Session.objects.filter(session_key=session.session_key).exists()


@pytest.mark.parametrize("evil", ["//evil.example", "https://evil.example/", "javascript:alert(1)", "/\\evil.example"])
def test_next_to_a_stranger_goes_home(staff: User, evil: str) -> None:
    response = Client().post(f"{LOGIN}?next={evil}", {"username": "anna", "password": "right horse", "next": evil})
    assert response.status_code == 302
    assert "evil" not in response["Location"]
    assert "javascript" not in response["Location"]


def test_cookies_are_not_for_scripts(staff: User) -> None:
    client = Client()
    attempt("right horse", client=client)
    client.post("/i18n/setlang/", {"language": "ru"})
    for name in ("sessionid", "csrftoken", "django_language"):
        assert client.cookies[name]["httponly"], name
        assert client.cookies[name]["samesite"] == "Lax", name


def test_an_idle_session_ends_after_half_an_hour(staff: User) -> None:
    client = _logged_in(seen=-(30 * 60 + 1))
    assert client.get("/admin/").status_code == 302
    assert "_auth_user_id" not in client.session


def test_a_used_session_ends_after_twelve_hours(staff: User) -> None:
    client = _logged_in(began=-(12 * 3600 + 1), seen=-5)
    assert client.get("/admin/").status_code == 302


def test_use_keeps_a_session_and_a_page_refreshing_itself_does_not(staff: User) -> None:
    client = _logged_in(seen=-1000)
    before = client.session[sessions.SEEN]
    assert client.get("/admin/", headers={"X-Background": "1"}).status_code == 200
    assert client.session[sessions.SEEN] == before
    assert client.get("/admin/").status_code == 200
    assert client.session[sessions.SEEN] > before


def test_a_page_view_writes_the_session_once_a_minute_at_most(staff: User, django_assert_num_queries) -> None:
    client = _logged_in()
    client.get("/admin/password_change/")
    with django_assert_num_queries(2):  # the session and its user
        client.get("/admin/password_change/")


def test_deactivating_or_a_new_password_ends_live_sessions(staff: User) -> None:
    first, second = _logged_in(), _logged_in()
    User.objects.filter(pk=staff.pk).update(is_active=False)
    assert first.get("/admin/").status_code == 302
    User.objects.filter(pk=staff.pk).update(is_active=True)
    staff.set_password("new horse")
    staff.save(update_fields=["password"])
    assert second.get("/admin/").status_code == 302


def test_a_post_without_a_token_is_refused_in_words(staff: User) -> None:
    client = Client(enforce_csrf_checks=True, headers={"accept-language": "ru"})
    response = client.post(LOGIN, {"username": "anna", "password": "right horse"})
    assert response.status_code == 403
    assert "Эта форма устарела" in response.content.decode()


def _logged_in(**ages: int) -> Client:
    """A client with a session whose times lie in the past by so many seconds."""
    client = Client()
    client.force_login(User.objects.get(username="anna"))
    session = client.session
    now = int(time.time())
    session[sessions.BEGAN], session[sessions.SEEN] = now + ages.get("began", 0), now + ages.get("seen", 0)
    session.set_expiry(timezone.now() + timedelta(hours=12))
    session.save()
    return client


def _let_pass(interval: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE login_attempts SET last_at = last_at - %s::interval", [interval])
