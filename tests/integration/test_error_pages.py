"""Pages for when nothing works: both languages, no database, a policy of their own."""

import base64
import hashlib
import re

import pytest
from django.db import DataError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory, override_settings
from django.urls import path
from django.utils.translation import override
from psycopg.errors import LockNotAvailable

from config import errors
from config.urls import handler400, handler403, handler404, handler500  # noqa: F401  Django reads them
from config.urls import urlpatterns as real_patterns


def _raise(error: Exception):
    def view(_request: HttpRequest) -> HttpResponse:
        raise error

    return view


def caused_by(error: Exception) -> OperationalError:
    """As Django wraps it."""
    wrapped = OperationalError(str(error))
    wrapped.__cause__ = error
    return wrapped


urlpatterns = [  # this module is the URL conf of its own tests
    path("admin-broken", _raise(RuntimeError("secret detail"))),
    path("api/broken", _raise(RuntimeError("secret detail"))),
    path("away", _raise(OperationalError("secret host"))),
    path("locked", _raise(caused_by(LockNotAvailable("secret lock")))),
    path("api/locked", _raise(caused_by(LockNotAvailable("secret lock")))),
    path("api/away", _raise(OperationalError("secret host"))),
    path("refused", _raise(DataError("secret value"))),
    *real_patterns,
]

HERE = override_settings(ROOT_URLCONF=__name__, DEBUG=False)
PAGES = [("/nowhere", 404), ("/admin-broken", 500), ("/away", 503), ("/refused", 400)]


@HERE
@pytest.mark.parametrize(("path", "status"), PAGES)
@pytest.mark.parametrize(
    ("language", "sign"), [("en", "To the overview|tries again"), ("ru", "К обзору|обновится сама")]
)
def test_a_page_in_the_readers_language_without_a_database(path: str, status: int, language: str, sign: str) -> None:
    response = Client(raise_request_exception=False).get(path, headers={"accept-language": language})
    page = response.content.decode()
    assert response.status_code == status
    assert re.search(sign, page)
    assert f'<html lang="{language}">' in page
    assert "secret" not in page
    assert response["X-Request-ID"] in page


@HERE
def test_machines_get_json_in_english() -> None:
    client = Client(raise_request_exception=False, headers={"accept-language": "ru"})
    assert client.get("/api/nowhere").json() == {"error": "not_found", "detail": "There is nothing here."}
    assert client.get("/api/broken").json()["error"] == "internal_error"
    away = client.get("/api/away")
    assert (away.status_code, away["Retry-After"], away.json()["error"]) == (503, "5", "database_unavailable")
    busy = client.get("/api/locked")
    assert (busy.status_code, busy["Retry-After"], busy.json()["error"]) == (503, "5", "busy")


@HERE
def test_a_page_that_met_a_lock_does_not_say_that_the_database_is_away() -> None:
    page = Client().get("/locked", headers={"accept-language": "en"}).content.decode()
    assert "database" not in page
    assert "is busy" in page


@HERE
def test_the_page_runs_under_the_strictest_policy() -> None:
    response = Client().get("/nowhere")
    style = re.search(r"<style>(.*)</style>", response.content.decode(), re.DOTALL)
    assert style
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in response["Content-Security-Policy"]
    assert "unsafe" not in response["Content-Security-Policy"]
    assert "<script" not in response.content.decode()
    assert response["X-Frame-Options"] == "DENY"


@HERE
def test_an_unknown_host_is_told_nothing() -> None:
    response = Client().get("/nowhere", headers={"host": "evil.example"})
    assert response.status_code == 400
    assert "evil" not in response.content.decode()


def test_a_missing_permission_says_who_can_help() -> None:
    with override("en"):
        response = errors.permission_denied(RequestFactory().get("/admin/x"))
    assert response.status_code == 403
    assert "Whoever manages staff accounts can grant it." in response.content.decode()


@HERE
def test_the_address_is_not_echoed() -> None:
    assert b"script>alert" not in Client().get("/<script>alert(1)</script>").content
