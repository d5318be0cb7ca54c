"""Two users, every call, every kind of id: what is another's is not there."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from conversations.models import Conversation, Message
from tests.api import Caller, refused
from tests.integration.test_api_access import SCOPES

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("kept_rows")]

NOWHERE = "01a1fa7b-d0a8-78fe-9897-711c2819520f"


@pytest.fixture
def ann() -> Caller:
    return Caller(user_id=1001)


@pytest.fixture
def ben() -> Caller:
    return Caller(user_id=1002)


def request_to(caller: Caller, method: str, path: str, session: str) -> Any:
    """The call with good values, on that session."""
    bodies = {
        "/api/sessions": {"user_id": 1001, "chat_id": 5},
        "/api/messages/append": {"session_id": session, "role": "user", "content": "hi", "external_id": "taken"},
        "/api/sessions/{session_id}/inbound": {"content": "hi", "external_id": "taken"},
        "/api/sessions/{session_id}/typing": {"activity": "typing"},
    }
    return caller.call(method, path.removeprefix("/api").format(session_id=session), bodies.get(path, b""))


ON_SESSIONS = [call for call in SCOPES if call not in {("POST", "/api/sessions"), ("GET", "/api/search")}]


@pytest.mark.parametrize(("method", "path"), ON_SESSIONS)
def test_anothers_session_is_as_absent_as_one_that_never_was(ann: Caller, ben: Caller, method: str, path: str) -> None:
    session = ann.session(1001)
    ann.append(session, "secret", external_id="taken")
    message = ann.read(session).json()["messages"][0]["id"]
    before = Message.objects.values().get(pk=message)
    theirs = request_to(ben, method, path, session)
    assert refused(theirs, 404, "not_found")
    for absent in (NOWHERE, message, str(ben.key.pk)):
        assert request_to(ben, method, path, absent).content == theirs.content
    expected = {"append": 409, "inbound": 409, "typing": 202}.get(path.rpartition("/")[2], 200)
    assert request_to(ann, method, path, session).status_code == expected
    if method != "DELETE":
        assert Message.objects.values().get(pk=message) == before


def test_nobody_opens_a_session_for_somebody_else(ann: Caller, ben: Caller) -> None:
    assert refused(request_to(ben, "POST", "/api/sessions", ""), 403, "wrong_user", "user_id")
    before = Conversation.objects.count()
    assert request_to(ann, "POST", "/api/sessions", "").status_code in {200, 201}
    assert refused(request_to(ben, "POST", "/api/sessions", ""), 403, "wrong_user", "user_id")
    assert Conversation.objects.count() <= before + 1


def test_the_same_chat_of_two_users_is_two_sessions(ann: Caller, ben: Caller) -> None:
    assert ann.session(1001, chat_id=7) != ben.session(1002, chat_id=7)


def test_postgresql_refuses_what_the_code_would_let_through(ben: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the check in words the row itself is refused: the check is not what keeps users apart."""
    monkeypatch.setattr("conversations.api.sessions.refuse_other_user", lambda *_args: None)
    before = Conversation.objects.count()
    assert refused(ben.call("POST", "/sessions", {"user_id": 1001}), 403, "forbidden")
    assert Conversation.objects.count() == before


def test_a_service_sees_everybody(ann: Caller, ben: Caller) -> None:
    service = Caller()
    for session in (ann.session(1001), ben.session(1002)):
        assert service.append(session).status_code == 201
        assert service.read(session).json()["count"] == 1


def test_rights_end_with_the_request_even_if_it_fails(ann: Caller, ben: Caller) -> None:
    """The connection is shared: whoever comes next must not be the one before."""
    session, service = ann.session(1001), Caller()
    for number in range(60):
        user = (ann, ben)[number % 2]
        match number % 5:
            case 0:
                user.read(session)
            case 1:
                user.call("POST", "/messages/append", b"{")
            case 2:
                user.append(NOWHERE)
            case 3:
                user.append(session, external_id="e" + str(number // 7), content=str(number))
            case 4:
                service.read(session)
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_user <> 'parley_client', current_setting('parley.user_id', true)")
            assert cursor.fetchone() in {(True, ""), (True, None)}
        assert ben.read(session).status_code == 404
        assert ann.read(session).status_code == 200
