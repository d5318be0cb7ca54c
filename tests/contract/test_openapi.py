"""The OpenAPI document is what is: every call fuzzed from it, its shape kept, every refusal in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.wsgi import get_wsgi_application
from django.test import Client
from hypothesis import HealthCheck
from hypothesis import settings as examples
from schemathesis.checks import CHECKS
from syrupy.assertion import SnapshotAssertion

from conversations.api.schemas import CANONICAL
from conversations.api.urls import api
from conversations.models import Scope
from tests.api import Caller
from tests.patience import LONG

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("kept_rows")]

EXAMPLES = 500 if LONG else 40
# Rules no JSON Schema can say (something must be visible, no U+0000, depth, bytes) refuse some of what it generates.
BEYOND_THE_SCHEMA = {"positive_data_acceptance"}


@pytest.fixture
def caller(settings: Any) -> Caller:
    settings.API_BAD_KEYS_PER_MINUTE = 0  # or asking with made-up keys would end in 429
    return Caller()


# A stream has no end that a WSGI client could wait for; tests/integration/test_api_inbound_and_turns.py follows it.
schema = schemathesis.openapi.from_wsgi("/api/openapi.json", get_wsgi_application()).exclude(
    operation_id="follow_session"
)


@schema.parametrize()
@examples(
    max_examples=EXAMPLES, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)
def test_every_call_keeps_to_the_document(case: Any, caller: Caller) -> None:
    _aim(case, caller.session(2, chat_id=2))
    case.call_and_validate(
        headers={"Authorization": f"Bearer {caller.token}"},
        excluded_checks=[check for check in CHECKS.get_all() if check.__name__ in BEYOND_THE_SCHEMA],
    )


def _aim(case: Any, session: str) -> None:
    """Well-formed ids are made to hit something, or all would end with 404."""
    for place in (case.path_parameters, case.body):
        if isinstance(place, dict) and CANONICAL.fullmatch(str(place.get("session_id", ""))):
            place["session_id"] = session


def described() -> dict[str, Any]:
    document: dict[str, Any] = Client().get("/api/openapi.json").json()
    return document


def test_the_document_is_kept(snapshot: SnapshotAssertion) -> None:
    """A changed answer or parameter is somebody's broken client: change it on purpose."""
    document = described()
    outline = {
        f"{method.upper()} {path}": {
            "takes": sorted(parameter["name"] for parameter in call["parameters"]),
            "body": call.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema"),
            "answers": sorted(call["responses"]),
        }
        for path, methods in document["paths"].items()
        for method, call in methods.items()
    }
    fields = {name: sorted(shape["properties"]) for name, shape in document["components"]["schemas"].items()}
    assert {"calls": outline, "fields": fields} == snapshot


def test_every_call_declares_its_refusals_and_needs_a_key() -> None:
    for path, methods in described()["paths"].items():
        for call in methods.values():
            refusals = {code: answer for code, answer in call["responses"].items() if int(code) >= 400}
            assert {"400", "401", "403", "429", "503"} <= set(refusals)
            assert ("404" in refusals) == ("{" in path or "append" in path)
            assert ({"413", "415"} <= set(refusals)) == ("requestBody" in call)
            assert "422" not in refusals
            for answer in refusals.values():
                assert answer["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/Refusal"}
            assert call["security"] == [{"ApiKey": []}]
            assert call["summary"]


@pytest.mark.parametrize("scope", [*Scope, "every"])
def test_the_fields_of_an_answer_do_not_depend_on_the_scope(scope: str, snapshot: SnapshotAssertion) -> None:
    """What a key may see is whole objects; nothing more creeps in for the mighty."""
    service = Caller()
    session = service.session()
    message = service.append(session).json()
    caller = Caller(scopes=list(Scope) if scope == "every" else [scope])
    append = {"session_id": session, "role": "user", "content": "x"}
    answers = {
        "open": caller.call("POST", "/sessions", {"user_id": 1}),
        "get": caller.call("GET", f"/sessions/{session}"),
        "append": caller.call("POST", "/messages/append", append),
        "read": caller.read(session),
        "clear": caller.call("DELETE", f"/sessions/{session}/messages"),
    }
    assert message
    assert {name: (answer.status_code, fields(answer.json())) for name, answer in answers.items()} == snapshot


def fields(value: Any) -> Any:
    """Names only, all the way down, except for what callers fill themselves."""
    if isinstance(value, dict):
        return {name: fields(inner) for name, inner in value.items() if name != "metadata"} or {}
    if isinstance(value, list):
        return [fields(value[0])] if value else []
    return ...


KEYWORDS = {
    "$ref", "additionalProperties", "anyOf", "const", "default", "description", "enum", "format", "items", "maxLength",
    "maxProperties", "maximum", "minLength", "minimum", "pattern", "properties", "required", "title", "type",
}  # fmt: skip


def shapes(node: Any) -> Iterator[dict[str, Any]]:
    """Every schema of the document, wherever it stands."""
    if isinstance(node, list):
        for one in node:
            yield from shapes(one)
    elif isinstance(node, dict):
        for name, one in node.items():
            if name in {"schema", "items"}:
                yield one
            elif name in {"schemas", "properties"}:
                yield from one.values()
            elif name == "anyOf":
                yield from one
            yield from shapes(one)


def test_bounds_are_written_in_the_words_of_json_schema() -> None:
    found = list(shapes(described()))
    assert len(found) > 100
    assert {word for shape in found for word in shape} <= KEYWORDS
    assert not [shape for shape in found if "maxLength" in shape and shape.get("type") == "object"]


def test_the_document_says_what_clients_need() -> None:
    document = described()
    assert document["servers"] == [{"url": "/"}]
    text = json.dumps(document)
    assert [name for name in document["components"]["schemas"] if f'schemas/{name}"' not in text] == []
    for methods in document["paths"].values():
        for call in methods.values():
            assert all("Retry-After" in call["responses"][status]["headers"] for status in ("429", "503"))
    follow = document["paths"]["/api/sessions/{session_id}/events"]["get"]
    assert "Last-Event-ID" in [parameter["name"] for parameter in follow["parameters"] if parameter["in"] == "header"]
    activity = document["components"]["schemas"]["Activity"]["properties"]["activity"]
    assert activity["enum"] == ["typing", "recording", "uploading", "cancel"]


def test_the_document_names_each_call_once() -> None:
    names = [call["operationId"] for methods in described()["paths"].values() for call in methods.values()]
    assert len(names) == len(set(names))
    assert api.get_openapi_schema()["info"]["title"] == "Parley"
