"""Who owes a code or a device gets nowhere in the admin, and nobody sees a secret there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib import admin
from django.contrib.auth.models import User
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import URLPattern, URLResolver, get_resolver
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from agents.models import AuditEntry
from config.second_factor import devices, gate, questions
from tests.second_factors import (
    CODE,
    LOGIN,
    OWN,
    SPARE,
    be_patient,
    by_password,
    code_of,
    deeds,
    enrolled,
    enrolling,
    forget_the_last_code,
    wrong_for,
)

pytestmark = pytest.mark.django_db


def admin_paths(patterns: list[Any] | None = None, prefix: str = "/") -> Iterator[str]:
    """Every address under /admin/ that the URL conf knows, with something in place of each id."""
    for entry in get_resolver().url_patterns if patterns is None else patterns:
        place = prefix + re.sub(r"\(.*?\)(?=/|\$)|<[^>]+>", _example, str(entry.pattern).strip("^").removesuffix("$"))
        if isinstance(entry, URLResolver):
            yield from admin_paths(entry.url_patterns, place)
        elif isinstance(entry, URLPattern) and place.startswith("/admin/"):
            yield place.replace("\\Z", "").replace("\\", "")


def _example(match: re.Match[str]) -> str:
    return "01932f5e-0000-7000-8000-000000000000" if "uuid" in match[0] else "1"


@pytest.mark.usefixtures("required_factor")
class TestRequired:
    @pytest.fixture
    def client(self, anna: User) -> Client:
        client = Client()
        client.force_login(anna)
        return client

    def test_every_address_of_the_admin_leads_to_enrolling(self, client: Client) -> None:
        paths = sorted(set(admin_paths()) - {OWN, "/admin/logout/"})
        assert len(paths) > 100
        for kept in ("/admin/search/", "/admin/search/find/", "/admin/jsi18n/", "/admin/autocomplete/", CODE):
            assert kept in paths
        for method, asked in (("get", paths), ("post", paths), ("put", paths[::20]), ("head", paths[::20])):
            for path in asked:
                answer = getattr(client, method)(path, headers={"accept": "application/json", "hx-request": "true"})
                assert answer.status_code == 302, (method, path)
                assert answer["Location"].split("?")[0] == OWN, (method, path)

    def test_a_post_changes_nothing(self, client: Client, anna: User) -> None:
        client.post("/admin/auth/user/add/", {"username": "eve", "password1": "h" * 20, "password2": "h" * 20})
        client.post(f"/admin/auth/user/{anna.pk}/password/", {"password1": "h" * 20, "password2": "h" * 20})
        client.post("/admin/password_change/", {"old_password": "right horse", "new_password1": "h" * 20})
        assert User.objects.get().check_password("right horse")

    def test_the_site_is_shut_behind_the_gate_too(self, anna: User) -> None:
        """For a view of the admin that somebody serves under another path."""
        request = RequestFactory().get("/elsewhere/")
        request.user, request.session = anna, Client().session  # type: ignore[assignment]

        def view(_request: HttpRequest) -> HttpResponse:
            raise AssertionError("reached")

        assert admin.site.admin_view(view)(request).status_code == 302
        assert not admin.site.has_permission(request)

    def test_enrolling_opens_everything(self, client: Client, anna: User) -> None:
        page = client.get(OWN)
        assert "everything else opens once it is" in page.content.decode()
        page = client.post(OWN, enrolling(anna, client.session["second_factor_draft"]))
        assert SPARE.findall(page.content.decode())
        assert client.get("/admin/").status_code == 200

    def test_who_removes_theirs_must_enrol_again(self, client: Client, anna: User) -> None:
        client.get(OWN)
        client.post(OWN, enrolling(anna, client.session["second_factor_draft"]))
        forget_the_last_code()
        client.post(OWN, {"wanted": "remove", "code": code_of(TOTPDevice.objects.get().key)})
        assert client.get("/admin/")["Location"].startswith(OWN)

    def test_logging_out_is_always_possible(self, client: Client) -> None:
        assert client.post("/admin/logout/").status_code == 200
        assert "_auth_user_id" not in client.session

    def test_strangers_and_other_doors_are_none_of_its_business(self, client: Client) -> None:
        assert Client().get("/admin/")["Location"].startswith(LOGIN)
        assert Client().get(LOGIN).status_code == 200
        assert client.get("/healthz").status_code == 200
        assert client.get("/api/sessions/x").status_code == 401


def test_an_enrolled_person_without_a_code_gets_nowhere_whatever_the_setting(anna: User) -> None:
    enrolled(anna)
    client, _ = by_password()
    for path in sorted(set(admin_paths()) - {CODE, "/admin/logout/"}):
        answer = client.post(path)
        assert (answer.status_code, answer["Location"]) == (302, CODE), path


def test_the_gate_stands_in_front_of_asynchronous_views_too(anna: User) -> None:
    enrolled(anna)
    client = AsyncClient()
    client.force_login(anna)
    answer = async_to_sync(client.get)("/admin/auth/user/")
    assert answer["Location"].startswith(CODE)
    assert async_to_sync(client.get)(CODE).status_code == 200


def test_the_menu_leads_to_it(anna: User) -> None:
    client = Client()
    client.force_login(anna)
    page = client.get("/admin/", headers={"accept-language": "ru"}).content.decode()
    assert re.search(f'href="{OWN}"[^>]*>\\s*Второй фактор', page)
    assert re.search(r'href="/admin/password_change/"[^>]*>\s*Изменить пароль', page)


def test_the_gate_costs_no_query(anna: User, django_assert_num_queries) -> None:
    key, _ = enrolled(anna)
    client, _ = by_password()
    client.post(CODE, {"code": code_of(key)})
    client.get("/admin/password_change/")
    with django_assert_num_queries(2):  # the session, and its user with the device
        client.get("/admin/password_change/")


def test_the_gate_is_in_front_and_proves_nothing_by_itself(anna: User) -> None:
    """A forged mark of another device, or none at all, is no proof."""
    enrolled(anna)
    client = Client()
    client.force_login(anna)
    session = client.session
    session[gate.PROVEN] = (questions.device_id(User.objects.get()) or 0) + 1
    session.save()
    assert client.get("/admin/")["Location"].startswith(CODE)


class TestSecrets:
    def test_no_page_of_the_admin_shows_or_finds_them(self, anna: User) -> None:
        key, codes = enrolled(anna)
        boris = User.objects.create_superuser("boris")
        client = Client()
        client.force_login(boris)
        assert not {TOTPDevice, StaticDevice, StaticToken} & set(admin.site._registry)
        secrets = _secrets(key, codes)
        for path in (
            *(
                f"/admin/auth/user/{end}"
                for end in ("", f"{anna.pk}/change/", f"{anna.pk}/delete/", f"{anna.pk}/history/")
            ),
            *(f"/admin/search/?s={text}" for text in (key[:6], codes[0][:5], "totp", "device")),
            *("/admin/agents/auditentry/", "/admin/agents/auditentry/?q=second_factor", "/admin/"),
        ):
            answer = client.get(path)
            assert answer.status_code == 200, path
            assert not [secret for secret in secrets if secret in answer.content.decode()], path

    @pytest.mark.parametrize("query", ["totpdevice__key__startswith=a", "staticdevice__token_set__token__startswith=a"])
    def test_no_list_can_be_asked_about_them(self, anna: User, query: str) -> None:
        client = Client()
        client.force_login(anna)
        assert client.get(f"/admin/auth/user/?{query}").status_code == 400

    @pytest.mark.usefixtures("required_factor")
    def test_the_record_and_the_log_do_not_know_them(
        self, anna: User, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
    ) -> None:
        client, _ = by_password()
        key = client.session["second_factor_draft"] if client.get(OWN) else ""
        form = enrolling(anna, key)
        tried = [form["code"], wrong_for(key), form["proof"]]
        codes = SPARE.findall(client.post(OWN, form).content.decode())
        other, _ = by_password()
        other.post(CODE, {"code": tried[1]})
        be_patient()
        other.post(CODE, {"code": codes[0]})
        devices.reset(anna, by="cli:root")
        assert deeds() == ["permit", "enrol", "refuse", "pass", "reset"]
        told = " ".join(str(row) for row in AuditEntry.objects.values_list("actor", "subject_id", "details"))
        heard = told + caplog.text + "".join(capsys.readouterr())
        assert not [secret for secret in (*_secrets(key, codes), *tried) if secret in heard]

    def test_recovery_codes_are_stored_as_hashes(self, anna: User) -> None:
        _, codes = enrolled(anna)
        stored = set(StaticToken.objects.values_list("token", flat=True))
        assert all(re.fullmatch("[0-9a-f]{16}", token) for token in stored)
        assert not stored & {code.replace("-", "") for code in codes}

    def test_keys_bound_to_a_user_cannot_read_the_tables(self) -> None:
        with connection.cursor() as cursor:
            for table in ("otp_totp_totpdevice", "otp_static_staticdevice", "otp_static_statictoken"):
                cursor.execute("SELECT has_table_privilege('parley_client', %s, 'SELECT')", [table])
                assert cursor.fetchone() == (False,), table


def _secrets(key: str, codes: list[str]) -> list[str]:
    written = devices.unsaved(User(username="x"), key).config_url
    found = re.search(r"secret=([A-Z2-7]+)", written)
    assert found is not None
    stored = StaticToken.objects.values_list("token", flat=True)
    return [key, found[1], *codes, *(code.replace("-", "") for code in codes), *stored]
