"""The stream behind open transcripts: many conversations on one connection, each from where its page ends."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django_otp.plugins.otp_totp.models import TOTPDevice

from conversations import log, sessions
from conversations.admin import following
from tests import raw
from tests.patience import granted
from tests.web import serving

EVENTS = "/admin/conversations/conversation/events/"


def opened(stream: http.client.HTTPResponse, names: set[str], number: int) -> list[dict[str, Any]]:
    """So many events of these names, as they arrive."""
    events: list[dict[str, Any]] = []
    name = ""
    while len(events) < number:
        line = stream.readline().decode().strip()
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        if line.startswith("data: ") and name in names:
            events.append(json.loads(line.removeprefix("data: ")))
    return events


@pytest.mark.django_db(transaction=True)
def test_one_connection_follows_nine_conversations(staff: Client) -> None:
    talks = [sessions.open(number)[0].pk for number in range(9)]
    for talk in talks:
        log.append(talk, "user", "on the page already")
        log.append(talk, "user", "missed")
    query = "&".join(f"conversation={talk}:0" for talk in talks)
    cookie = f"sessionid={staff.cookies['sessionid'].value}"
    with serving(raw.url(), "", ALLOWED_HOSTS="*", DEBUG="true") as site, closing(site.connect()) as link:
        link.request(
            "GET", f"{EVENTS}?{query}&conversation=broken&conversation={uuid4()}:0", headers={"Cookie": cookie}
        )
        stream = link.getresponse()
        assert stream.status == 200
        missed = opened(stream, {"message"}, 9)
        assert {(UUID(event["conversation"]), event["content"]) for event in missed} == {(t, "missed") for t in talks}
        for talk in talks:
            log.append(talk, "user", "new")
        new = opened(stream, {"message"}, 9)
        assert {(UUID(event["conversation"]), event["content"]) for event in new} == {(talk, "new") for talk in talks}
        assert all(event["now"] > 0 for event in new)


@pytest.mark.django_db
def test_a_stream_takes_the_permission_and_a_conversation_that_is_there(staff: Client) -> None:
    talk = sessions.open(7)[0].pk
    assert staff.get(f"{EVENTS}?conversation={talk}:-1").status_code == 204  # the test client is no server of streams
    for query in (
        "",
        f"conversation={uuid4()}:0",
        "conversation=x",
        "&".join(f"conversation={uuid4()}" for _ in range(51)),
    ):
        assert staff.get(f"{EVENTS}?{query}").status_code == 404
    stranger = Client()
    stranger.force_login(User.objects.create_user("guest", is_staff=True))
    assert stranger.get(f"{EVENTS}?conversation={talk}:-1").status_code == 403


def lose_the_session(staff: Client, _person: User) -> None:
    staff.post("/admin/logout/")


def change_the_password(_staff: Client, person: User) -> None:
    person.set_password("another horse")
    person.save()


def lose_the_permission(_staff: Client, person: User) -> None:
    person.is_superuser = False
    person.save()


def owe_a_second_factor(_staff: Client, person: User) -> None:
    TOTPDevice.objects.create(user=person, name="app", confirmed=True)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("shut_out", [lose_the_session, change_the_password, lose_the_permission, owe_a_second_factor])
def test_a_stream_ends_for_who_is_shut_out(staff: Client, shut_out: Callable[[Client, User], None]) -> None:
    talk = sessions.open(7)[0].pk
    log.append(talk, "user", "before")
    person = User.objects.get(pk=int(staff.session["_auth_user_id"]))
    cookie = f"sessionid={staff.cookies['sessionid'].value}"
    with serving(raw.url(), "", ALLOWED_HOSTS="*", DEBUG="true") as site, closing(site.connect()) as link:
        link.request("GET", f"{EVENTS}?conversation={talk}:-1", headers={"Cookie": cookie})
        stream = link.getresponse()
        assert [event["content"] for event in opened(stream, {"message"}, 1)] == ["before"]
        assert following.may_still_follow(staff.session.session_key or "")
        shut_out(staff, person)
        begun = time.monotonic()
        link.sock.settimeout(granted(5))  # type: ignore[union-attr]
        while stream.readline():
            pass
        assert time.monotonic() - begun < granted(5), "nothing else happens, and it ends all the same"
