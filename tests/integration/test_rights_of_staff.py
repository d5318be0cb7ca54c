"""What staff may with a single permission: neither make themselves superusers nor read what they may not."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client

from conversations import log, sessions
from search.models import Entry
from tests.searching import settle

pytestmark = pytest.mark.django_db(transaction=True)


NEW_PASSWORD = {"password1": "another horse 1", "password2": "another horse 1"}
DATES = {"date_joined_0": "2026-01-01", "date_joined_1": "00:00:00"}


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
    form |= {"first_name": "Olga", "last_name": "", **DATES}
    client.post(page, form)
    person.refresh_from_db()
    assert (person.is_superuser, person.first_name) == (False, "Olga")


def test_a_superusers_password_is_for_superusers() -> None:
    root = User.objects.create_superuser("root", password="right horse")
    client, _person = staff_with("view_user", "change_user", "delete_user")
    for page in ("password", "delete"):
        assert client.post(f"/admin/auth/user/{root.pk}/{page}/", {}).status_code == 403
    client.post(f"/admin/auth/user/{root.pk}/password/", NEW_PASSWORD)
    root.refresh_from_db()
    assert root.check_password("right horse")


@pytest.mark.parametrize("is_active", [True, False])
@pytest.mark.parametrize("by_group", [True, False])
def test_an_account_with_more_rights_is_not_for_those_with_fewer(by_group: bool, is_active: bool) -> None:
    boss = User.objects.create_user("boss", "boss@example.org", "right horse", is_staff=True, is_active=is_active)
    more = Permission.objects.get(codename="delete_user")
    if by_group:
        group = Group.objects.create(name="those who delete")
        group.permissions.add(more)
        boss.groups.add(group)
    else:
        boss.user_permissions.add(more)
    client, person = staff_with("view_user", "change_user")
    page = f"/admin/auth/user/{boss.pk}/"
    form = {"username": "boss", "is_active": "on", "is_staff": "on", "email": "olga@example.org", **DATES}
    assert client.post(f"{page}password/", NEW_PASSWORD).status_code == 403
    assert client.post(f"{page}change/", form).status_code == 403
    boss.refresh_from_db()
    assert (boss.email, boss.check_password("right horse")) == ("boss@example.org", True)
    person.user_permissions.add(more)
    assert client.post(f"{page}password/", NEW_PASSWORD).status_code == 302
    assert client.post(f"{page}change/", form).status_code == 302
    boss.refresh_from_db()
    assert (boss.email, boss.check_password("another horse 1")) == ("olga@example.org", True)


def test_who_may_see_the_index_alone_reads_no_message() -> None:
    log.append(sessions.open(7)[0].pk, "user", "the hidden word")
    settle()
    assert Entry.objects.exists()
    client, person = staff_with("view_entry", "view_unembedded")
    for page in ("entry/", "entry/?type=message", "unembedded/", f"entry/{Entry.objects.get().pk}/change/"):
        assert "hidden word" not in client.get(f"/admin/search/{page}", follow=True).content.decode()
    person.user_permissions.add(Permission.objects.get(codename="view_message"))
    assert "hidden word" in client.get("/admin/search/entry/").content.decode()
