"""Behind a proxy that serves the site under a path of its own, everything holds that holds at the root."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.test.utils import override_script_prefix

from config import middleware, sessions

pytestmark = pytest.mark.django_db
PREFIX = "/parley"


@pytest.fixture(autouse=True)
def behind_a_prefix() -> Iterator[None]:
    with override_script_prefix(f"{PREFIX}/"):
        yield


def under_prefix(client: Client, path: str, **options: Any) -> Any:
    return client.get(path, SCRIPT_NAME=PREFIX, **options)


@pytest.mark.parametrize(("began", "seen"), [(0, -(30 * 60 + 1)), (-(12 * 3600 + 1), -5)])
def test_an_idle_and_an_old_session_end(began: int, seen: int) -> None:
    client, now = Client(), int(time.time())
    client.force_login(User.objects.create_superuser("anna"))
    assert under_prefix(client, "/admin/").status_code == 200
    session = client.session
    session[sessions.BEGAN], session[sessions.SEEN] = now + began, now + seen
    session.save()
    response = under_prefix(client, "/admin/")
    assert (response.status_code, response["Location"]) == (302, "/parley/admin/login/?next=/parley/admin/")
    assert "_auth_user_id" not in client.session


def test_the_admin_runs_under_its_own_policy_and_opens_in_frames_of_its_own() -> None:
    assert under_prefix(Client(), "/admin/login/")["Content-Security-Policy"] == middleware.ADMIN
    framed = under_prefix(Client(), "/admin/login/?_popup=1")
    assert framed["X-Frame-Options"] == "SAMEORIGIN"


def test_machines_get_json_and_people_a_way_home() -> None:
    assert under_prefix(Client(), "/api/nowhere").json()["error"] == "not_found"
    assert under_prefix(Client(), "/telegram/nowhere").json()["error"] == "not_found"
    assert 'href="/parley/admin/"' in under_prefix(Client(), "/nowhere").content.decode()
