"""The admin as staff meet it: every page in both languages, with the right headers, whatever is typed into it."""

import re
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Group, Permission, User
from django.db import models
from django.http import HttpRequest
from django.test import Client, RequestFactory
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import override
from unfold.utils import display_for_label

from config import dashboard, health, navigation, translations
from config.admin import ModelAdmin, display
from config.site import FOUND_PER_MODEL, Site
from tests.patience import PATIENCE

pytestmark = pytest.mark.django_db


def pages() -> list[str]:
    """Every list and form of the admin, and the pages of the site itself."""
    names = ["index", "password_change"]
    for model in admin.site._registry:
        if model._meta.app_label == "django_q":  # replaced by a page of our own
            continue
        names.append(f"{model._meta.app_label}_{model._meta.model_name}_changelist")
        names.append(f"{model._meta.app_label}_{model._meta.model_name}_add")
    return names


def entered_by_hand(name: str, request: HttpRequest) -> bool:
    """Records of what happened are nobody's to add."""
    app, model, page = name.rsplit("_", 2) if name.endswith("_add") else ("", "", name)
    return page != "add" or admin.site.get_model_admin(apps.get_model(app, model)).has_add_permission(request)


@pytest.mark.parametrize("language", ["en", "ru"])
@pytest.mark.parametrize("name", pages())
def test_every_page_opens_in_both_languages(staff: Client, name: str, language: str) -> None:
    response = staff.get(reverse(f"admin:{name}"), headers={"accept-language": language})
    if not entered_by_hand(name, response.wsgi_request):
        assert response.status_code == 403
        return
    assert response.status_code == 200
    assert f'lang="{language}"' in response.content.decode()


def test_the_start_page_says_what_is_here_and_whether_it_works(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "READINESS", [health.database, health.extension, health.migrations])
    monkeypatch.setattr(health, "NOTICES", [])
    page = staff.get("/admin/").content.decode()
    assert page.count("check_circle") == len(health.READINESS) + len(health.NOTICES)
    assert "Authentication and Authorization" in page
    assert "/readyz" in page
    assert "agents that listen before they answer" in page


def test_the_start_page_tells_a_failure_and_its_fix(staff: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = health.Result("worker", False, "no <b>heartbeat</b>", "Start one.")
    monkeypatch.setattr(health, "READINESS", [lambda: broken])
    page = staff.get("/admin/", headers={"accept-language": "ru"}).content.decode()
    assert "не работает" in page
    assert "no &lt;b&gt;heartbeat&lt;/b&gt;. Start one." in page


def test_no_string_of_the_theme_stays_english_on_a_russian_page(staff: Client) -> None:
    change = reverse("admin:auth_user_change", args=[User.objects.get().pk])
    paths = ["/admin/", "/admin/login/", "/admin/auth/user/", "/admin/auth/user/add/", change]
    words = {text.singular for text in translations.theme() if len(text.singular) > 8 and "\n" not in text.singular}
    for path in paths:
        client = Client() if path.endswith("login/") else staff
        page = client.get(path, headers={"accept-language": "ru"}).content.decode()
        visible = re.findall(r">([^<>]+)<|placeholder=\"([^\"]+)\"|title=\"([^\"]+)\"", page)
        assert not words & {part.strip() for parts in visible for part in parts}, path


def test_staff_without_permissions_see_an_honest_empty_page() -> None:
    client = Client()
    client.force_login(User.objects.create_user("guest", is_staff=True))
    page = client.get("/admin/").content.decode()
    assert "permission to view or edit anything" in page
    assert "/admin/auth/user/" not in page


def test_the_menu_is_in_the_order_of_the_rooms(staff: Client) -> None:
    request = _request(User.objects.get())
    order = list(navigation.rooms(request))
    rooms = ["conversations", "entities", "agents", "search", "config", "auth", "django_q"]
    assert order == [room for room in rooms if room in order]
    assert [room["app_label"] for room in dashboard.start_page(request, {})["rooms"]] == order


def test_an_empty_list_says_how_a_first_row_comes_about(staff: Client) -> None:
    empty = staff.get("/admin/conversations/turn/").content.decode()
    assert "Write to an agent in the playground" in empty
    assert "Reset filters" not in empty
    narrowed = staff.get("/admin/conversations/turn/?status__exact=failed").content.decode()
    assert "Reset filters" in narrowed


def test_a_state_without_a_colour_is_shown_by_its_name() -> None:
    @display(description="state", label={"kept": "info"})
    def state(_row: object) -> tuple[str, str]:
        return "gone", "removed by the policy"

    badge = display_for_label(state(None), "-", state.label)  # type: ignore[attr-defined]
    assert "removed by the policy" in badge
    assert "gone" not in badge
    assert str(state(None)) == "removed by the policy", "a page of one row prints the value as it is"


def test_permissions_are_named_in_the_language_of_the_page(staff: Client) -> None:
    staff.cookies["django_language"] = "ru"
    page = staff.get("/admin/auth/group/add/").content.decode()
    assert "Разговоры | ход | просматривать" in page
    assert "Can view turn" not in page


def test_times_carry_their_zone() -> None:
    moment = datetime(2026, 11, 26, 9, 5, tzinfo=UTC)
    for language, written in (("en", "2026-11-26 09:05 UTC"), ("ru", "26.11.2026 09:05 UTC")):
        with override(language):
            assert date_format(moment, "SHORT_DATETIME_FORMAT").replace("\u00a0", " ") == written


def test_a_page_that_refuses_a_form_keeps_its_styles_in_development(staff: Client, settings: Any) -> None:
    settings.DEBUG = True
    response = staff.post("/admin/entities/schemachange/add/", {"document": "nonsense"})
    directives = dict(part.strip().split(" ", 1) for part in response["Content-Security-Policy"].split(";"))
    assert response.status_code == 400
    assert "'self'" in directives["style-src"]
    assert "'self'" in directives["script-src"]


@pytest.mark.parametrize("path", ["/admin/", "/admin/login/", "/admin/auth/user/", "/healthz", "/nowhere"])
def test_every_answer_carries_the_headers(staff: Client, path: str) -> None:
    response = staff.get(path)
    policy = response["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "'unsafe-inline'" not in policy.split("style-src")[0]
    assert response["X-Frame-Options"] == "DENY"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Referrer-Policy"] == "same-origin"
    assert response["Cross-Origin-Opener-Policy"] == "same-origin"


def test_a_related_records_form_may_be_framed_by_us_alone(staff: Client) -> None:
    response = staff.get("/admin/auth/group/add/?_popup=1")
    assert "frame-ancestors 'self'" in response["Content-Security-Policy"]
    assert response["X-Frame-Options"] == "SAMEORIGIN"


def test_only_the_admin_may_evaluate(staff: Client) -> None:
    assert "unsafe-eval" in staff.get("/admin/")["Content-Security-Policy"]
    assert "unsafe-eval" not in staff.get("/healthz")["Content-Security-Policy"]


@pytest.mark.parametrize(
    "query",
    [
        *("q=%00", "q=%25_%27;--", "username__exact=%00", "is_active__exact=%00", "is_staff__exact=7", "e=1"),
        *("p=-1", "p=99999999999999999999", "p=x", "o=1.x.-9", "password__startswith=pbkdf2"),
        "groups__id__exact=9223372036854775808",
    ],
)
def test_whatever_is_typed_into_a_list_is_answered(staff: Client, query: str) -> None:
    assert staff.get(f"/admin/auth/user/?{query}").status_code in {200, 302, 400}
    assert staff.get("/admin/auth/user/").status_code == 200


@pytest.mark.parametrize("pk", ["0", "-1", "9223372036854775808", "x", "1%00", "%F0%9F%98%80", "1' OR 1=1"])
def test_an_id_of_nothing_leads_to_no_error(staff: Client, pk: str) -> None:
    assert staff.get(f"/admin/auth/user/{pk}/change/").status_code in {302, 400, 404}


class TestPalette:
    def test_finds_pages_and_rows(self, staff: Client) -> None:
        page = staff.get("/admin/search/?extended=1&s=ann").content.decode()
        assert reverse("admin:auth_user_change", args=[User.objects.get().pk]) in page
        assert reverse("admin:auth_group_changelist") in staff.get("/admin/search/?s=group").content.decode()

    def test_answers_in_the_language_of_the_moment_and_of_the_moment(self, staff: Client) -> None:
        assert "Users" in staff.get("/admin/search/?s=ann").content.decode()
        assert "Пользователи" in staff.get("/admin/search/?s=ann", headers={"accept-language": "ru"}).content.decode()
        User.objects.create_user("annabel")
        assert "annabel" in staff.get("/admin/search/?s=ann").content.decode()

    def test_reads_few_rows(self, staff: Client) -> None:
        Group.objects.bulk_create(Group(name=f"group {number}") for number in range(3 * FOUND_PER_MODEL))
        page = staff.get("/admin/search/?s=group+").content.decode()
        assert page.count('data-title="group ') == FOUND_PER_MODEL

    @pytest.mark.parametrize("query", ["", "s=", "s=%00", "s=%20", "s=x&page=abc", "s=x&page=-1", "s=<script>"])
    def test_bears_anything(self, staff: Client, query: str) -> None:
        response = staff.get(f"/admin/search/?{query}")
        assert response.status_code == 200
        assert b"<script>" not in response.content

    def test_shows_only_what_the_person_may_see(self) -> None:
        User.objects.create_user("anna")
        guest = User.objects.create_user("guest", is_staff=True)
        guest.user_permissions.add(Permission.objects.get(codename="view_group"))
        client = Client()
        client.force_login(guest)
        assert "/admin/auth/user/" not in client.get("/admin/search/?s=ann").content.decode()

    def test_is_closed_to_strangers(self) -> None:
        assert Client().get("/admin/search/?s=ann").status_code == 302


def test_the_admin_site_is_ours() -> None:
    assert isinstance(admin.site, Site) or isinstance(getattr(admin.site, "_wrapped", None), Site)


def test_a_required_choice_keeps_its_blank_option() -> None:
    field = models.CharField(max_length=1, choices=[("a", "A")])
    field.set_attributes_from_name("kind")
    form_field = ModelAdmin(User, admin.site).formfield_for_choice_field(field, _request(User()))
    assert form_field
    assert next(iter(form_field.choices))[0] == ""


def test_production_settings_pass_the_deploy_checks() -> None:
    env = {"DEBUG": "false", "SECRET_KEY": "k7-Zq0!" * 12, "ALLOWED_HOSTS": "parley.example.org", "PATH": "/usr/bin"}
    env |= {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "TRUSTED_PROXIES": "1"}
    command = [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"]
    finished = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "no issues (1 silenced)" in finished.stdout, "security.W021 alone: HSTS_PRELOAD is off"
    without_proxy = subprocess.run(
        command, env={**env, "TRUSTED_PROXIES": "0"}, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert "parley.W002" in without_proxy.stderr


def _request(user: User) -> HttpRequest:
    request = RequestFactory().get("/admin/")
    request.user = user
    return request
