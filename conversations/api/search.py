"""Search over the API: what the key may see, by meaning and by word, with the ranks of both."""

from datetime import datetime
from http import HTTPMethod
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from django.http import HttpRequest
from ninja import Query, Schema
from pydantic import AfterValidator, BeforeValidator, Field

from conversations.api.auth import SEARCHES
from conversations.api.calls import Calls
from conversations.api.errors import ApiError
from conversations.api.schemas import BigInt, Id, digits, visible
from conversations.keys import Caller
from conversations.models import Scope
from search import query
from search.query import LONGEST, MOST, SearchError
from search.results import Coverage, Hit, Results

calls = Calls(tags=["search"])

NAMES = {"text": "q", "entity_types": "entity_type"}  # what search calls them, and what the call does


class Question(Schema):
    """What is looked for, and among what."""

    q: Annotated[str, Field(max_length=LONGEST), AfterValidator(visible), Field(min_length=1)] = Field(
        description='In your own words; "an exact phrase" and -without narrow what is found by word.'
    )
    mode: Literal["hybrid", "vector", "keyword"] = "hybrid"
    entity_type: Annotated[str | None, Field(max_length=500)] = Field(
        None, description="One kind of thing, such as `message`, or several separated by commas."
    )
    session_id: Id | None = Field(None, description="Only in this session.")
    user_id: Annotated[BigInt | None, BeforeValidator(digits)] = Field(
        None, description="Only of this user; a key bound to a user never sees others' anyway."
    )
    limit: Annotated[int, Field(ge=1, le=MOST), BeforeValidator(digits)] = 10


class Part(Schema):
    text: str
    marked: bool = Field(description="It matches a word of the question.")


class Ranks(Schema):
    """Places in the two searches, from 1; null where that search did not find it."""

    vector: int | None
    keyword: int | None


class Found(Schema):
    """One thing, by the part of it that fits best."""

    entity_type: str
    entity_id: UUID
    content: str = Field(description="That part; long texts are indexed in parts.")
    snippet: str = Field(description="The telling piece of it, as plain text.")
    parts: list[Part] = Field(description="The snippet cut where words match.")
    score: float = Field(description="Comparable within one answer only.")
    similarity: float | None = Field(description="Cosine of the two vectors, where they were compared.")
    ranks: Ranks
    user_id: int | None
    at: datetime | None
    session_id: UUID | None = Field(None, description="For messages.")
    message_index: int | None = Field(None, description="For messages.")
    role: str | None = Field(None, description="For messages.")

    @classmethod
    def of(cls, hit: Hit) -> Self:
        same: dict[str, Any] = {name: getattr(hit, name) for name in cls.model_fields if hasattr(hit, name)}
        same["snippet"] = "".join(segment.text for segment in hit.snippet)
        same["parts"] = [Part(text=segment.text, marked=segment.marked) for segment in hit.snippet]
        if hit.entity_type == "message":
            same["session_id"] = hit.metadata.get("conversation_id")
            same |= {name: hit.metadata.get(name) for name in ("message_index", "role")}
        return cls(**same)


class Covered(Schema):
    """How much of what can be found has a vector, as last counted."""

    entries: int
    embedded: int
    pending: int = Field(description="Found by word, not yet by meaning.")
    failed: int = Field(description="Found by word only: the model refuses them.")
    stale: int = Field(description="Changed, and not in the index yet.")

    @classmethod
    def of(cls, coverage: Coverage) -> Self:
        return cls(**{name: getattr(coverage, name) for name in cls.model_fields})


class Answer(Schema):
    """Best first."""

    results: list[Found]
    mode: str
    took_ms: float
    coverage: Covered | None = Field(description="Of everybody's things; null for a key bound to a user.")
    degraded: list[str] | None = Field(None, description="What the search had to do without; absent when nothing.")

    @classmethod
    def of(cls, found: Results, caller: Caller) -> Self:
        """A bound key is not told how much others say; its own share would be a count in every search."""
        told: dict[str, Any] = {"degraded": list(found.degraded)} if found.degraded else {}
        return cls(
            results=[Found.of(hit) for hit in found.hits],
            mode=found.mode,
            took_ms=round(found.took_ms, 1),
            coverage=Covered.of(found.coverage) if caller.user_id is None else None,
            **told,
        )


@calls.call(
    HTTPMethod.GET,
    "/search",
    scope=Scope.SEARCH,
    answers={200: Answer},
    budget=SEARCHES,
    exclude_unset=True,
    summary="Search",
)
def search(request: HttpRequest, question: Query[Question]) -> Answer:
    """By meaning and by word, both ranks told; deleted things are left out.

    `degraded` names what is missing, such as `embeddings_down`; what there is by word is answered all the same.
    """
    caller: Caller = request.auth  # type: ignore[attr-defined]
    types = question.entity_type.split(",") if question.entity_type is not None else None
    try:
        found = query.search(
            question.q,
            user_id=question.user_id,
            entity_types=types,
            filters={"session_id": question.session_id} if question.session_id else None,
            mode=question.mode,
            limit=question.limit,
        )
    except SearchError as error:
        raise ApiError(400, "invalid_value", str(error), field=NAMES.get(error.field, error.field)) from error
    return Answer.of(found, caller)
