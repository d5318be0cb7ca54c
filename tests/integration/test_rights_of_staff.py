"""What staff may with a single permission: neither make themselves superusers nor read what they may not."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from conversations import log, sessions
from search.models import Entry
from tests.searching import settle

pytestmark = pytest.mark.django_db(transaction=True)


def staff_with(*names: str) -> tuple[Client, User]:
    person = User.objects.create_user("olga", password="right horse", is_staff=True)
    person.user_permissions.set(Permission.objects.filter(codename__in=names))
    client = Client()
    client.force_login(person)
    return client, person


def test_who_may_change_accounts_cannot_become_a_superuser() -> None:
    client, person = staff_with("view_user", "change_user")
    page = f"/admin/auth/user/{person.pk}/change/"
    form = {"username": "olga", "is_active": "on", "is_staff": "on", "is_superuser": "on", "groups": [], "email": ""}
    form |= {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00", "first_name": "Olga", "last_name": ""}
    client.post(page, form)
    person.refresh_from_db()
    assert (person.is_superuser, person.first_name) == (False, "Olga")


def test_a_superusers_password_is_for_superusers() -> None:
    root = User.objects.create_superuser("root", password="right horse")
    client, _person = staff_with("view_user", "change_user", "delete_user")
    for page in ("password", "delete"):
        assert client.post(f"/admin/auth/user/{root.pk}/{page}/", {}).status_code == 403
    new = {"password1": "another horse 1", "password2": "another horse 1"}
    client.post(f"/admin/auth/user/{root.pk}/password/", new)
    root.refresh_from_db()
    assert root.check_password("right horse")


def test_who_may_see_the_index_alone_reads_no_message() -> None:
    log.append(sessions.open(7)[0].pk, "user", "the hidden word")
    settle()
    assert Entry.objects.exists()
    client, person = staff_with("view_entry", "view_unembedded")
    for page in ("entry/", "entry/?type=message", "unembedded/", f"entry/{Entry.objects.get().pk}/change/"):
        assert "hidden word" not in client.get(f"/admin/search/{page}", follow=True).content.decode()
    person.user_permissions.add(Permission.objects.get(codename="view_message"))
    assert "hidden word" in client.get("/admin/search/entry/").content.decode()
