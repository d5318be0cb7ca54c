"""The OpenAPI document: what ninja writes of the calls, and what it has no word for."""

from __future__ import annotations

import json
from typing import Any

from ninja import NinjaAPI

RETRY_AFTER = {
    "description": "Seconds after which to try again.",
    "schema": {"type": "integer", "minimum": 1},
}
ASKS_TO_RETRY = ("429", "503")


class DocumentedAPI(NinjaAPI):
    """Adds the headers of answers, and leaves out what nothing refers to."""

    def get_openapi_schema(self, **options: Any) -> Any:
        document = super().get_openapi_schema(**options)
        for methods in document["paths"].values():
            for call in methods.values():
                _add_headers(call["responses"])
        _drop_unused(document)
        return document


def _add_headers(responses: dict[Any, Any]) -> None:
    for status, answer in responses.items():
        if str(status) in ASKS_TO_RETRY:
            answer["headers"] = {"Retry-After": RETRY_AFTER}


def _drop_unused(document: Any) -> None:
    """Parameters are written out where they belong, so the classes that declare them are nobody's components."""
    schemas = document["components"]["schemas"]
    while unused := [name for name in schemas if f'"#/components/schemas/{name}"' not in json.dumps(document)]:
        for name in unused:
            del schemas[name]
