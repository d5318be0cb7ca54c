"""A caller of the API for tests: a key, and requests through Django's own handler."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.test import Client

from conversations import keys
from conversations.models import ApiKey

JSON = "application/json"


class Caller:
    """One key at work; answers are Django's responses, whose `.json()` is what the client would see."""

    def __init__(
        self, *, user_id: int | None = None, scopes: Iterable[str] | None = None, address: str = "127.0.0.1"
    ) -> None:
        self.key: ApiKey
        self.key, self.token = keys.create("test", by="test", user_id=user_id, scopes=scopes)
        self.client = Client(raise_request_exception=False, REMOTE_ADDR=address)

    def call(self, method: str, path: str, body: Any = b"", *, content_type: str = JSON, **headers: str) -> Any:
        """`body` is sent as it is where it is bytes, else as JSON."""
        given = {"Authorization": f"Bearer {self.token}", **{name.replace("_", "-"): v for name, v in headers.items()}}
        arguments = {"headers": given, "content_type": content_type}
        if not isinstance(body, bytes):
            body = self.client._encode_json(body, JSON)
        return self.client.generic(method, f"/api{path}", body, **arguments)

    def session(self, user_id: int = 1, **more: Any) -> str:
        response = self.call("POST", "/sessions", {"user_id": user_id, **more})
        assert response.status_code in {200, 201}, response.content
        id_: str = response.json()["id"]
        return id_

    def append(self, session: str | UUID, content: str = "hi", *, role: str = "user", **more: Any) -> Any:
        body = {"session_id": str(session), "role": role, "content": content, **more}
        return self.call("POST", "/messages/append", body)

    def read(self, session: str, query: str = "") -> Any:
        return self.call("GET", f"/sessions/{session}/messages{query}")


def refused(response: HttpResponse | Any, status: int, code: str, field: str | None = None) -> bool:
    """Is it exactly that refusal, in the promised shape?"""
    assert response.headers["Content-Type"] == JSON, response.content
    body = response.json()
    assert (response.status_code, body["error"], body.get("field")) == (status, code, field), body
    assert set(body) <= {"error", "detail", "field"}
    assert body["detail"]
    return True
