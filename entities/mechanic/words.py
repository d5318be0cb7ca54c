"""Plain words become a document, where a language model is set up; everything else works without one."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings

from entities import loader
from entities.base import own_fields
from entities.mechanic import documents
from entities.mechanic.documents import Document, DocumentError

LONGEST = 2_000  # characters
ASKED = """You write one JSON document that asks for a change of database tables, and nothing else: no words around it.
You can only add. Where the wish is to drop, rename or retype, answer {{"title": "...", "drop": "..."}}.
Tables there are: {tables}.
The document's JSON Schema: {schema}
The wish: {wish}"""


class NoModelError(DocumentError):
    """No language model is set up."""

    def __init__(self) -> None:
        super().__init__(["Plain words need a language model: set OPENAI_API_KEY. A document works without one."])


def read(wish: str) -> dict[str, Any]:
    """The document a model makes of a wish. It is checked like any other, and only ever proposed."""
    if not (settings.OPENAI_API_KEY or settings.OPENAI_BASE_URL):
        raise NoModelError
    if not wish.strip() or len(wish) > LONGEST:
        raise DocumentError([f"Say it in one to {LONGEST} characters."])
    tables = {name: [field.name for field in own_fields(model)] for name, model in loader.MODELS.items()}
    prompt = ASKED.format(tables=json.dumps(tables), schema=json.dumps(Document.model_json_schema()), wish=wish.strip())
    try:
        from agents.llm import compatible  # heavy: only where a model is asked

        answer = compatible.from_settings(settings.LLM_MODEL).invoke(prompt).text
    except Exception as error:
        raise DocumentError([f"The language model did not answer: {type(error).__name__}."]) from error
    return documents.parsed(answer[answer.find("{") : answer.rfind("}") + 1] or answer)
