"""What the API answers when it cannot do what was asked: always `{"error", "detail", "field"?}` (ADR 0040)."""

import json
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import psycopg
import structlog
from django.core.exceptions import RequestDataTooBig
from django.db import DatabaseError, InterfaceError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.http.request import UnreadablePostError
from ninja import NinjaAPI, Schema
from ninja.errors import HttpError, ValidationError
from pydantic import Field

from config.errors import DATABASE_AWAY, unavailable
from config.postgresql.failures import failure
from conversations import keys, log, tally
from conversations.errors import BlankMessageError, ConversationClosedError

logger = structlog.get_logger(__name__)

NO_RIGHT = "42501"
STORING = ("/messages/append", "/inbound")  # calls that bring a message, which
LOST = {400, 409, 413}  # with these is not stored
OUR_CODES = {"string_too_long": "too_long"}  # what pydantic calls it, and what the guide does
MISSING_BODY = 2  # ("body", "body"): the whole body, not a field of it


class Refusal(Schema):
    """Every answer that is not a success."""

    error: str = Field(description="A code for programs; see the guide for all of them.")
    detail: str = Field(description="What is wrong, for people. The wording may change.")
    field: str | None = Field(None, description="The field or parameter it is about.")


class ApiError(Exception):
    """An answer other than success, said as it shall be sent."""

    permanent = True

    def __init__(
        self, status: int, code: str, detail: str, *, field: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail, self.field, self.headers = status, code, detail, field, headers

    def response(self) -> HttpResponse:
        return refusal(self.status, self.code, self.detail, field=self.field, headers=self.headers)


def refusal(
    status: int, code: str, detail: str, *, field: str = "", headers: dict[str, str] | None = None
) -> HttpResponse:
    body = {"error": code, "detail": detail, **({"field": field} if field else {})}
    return JsonResponse(body, status=status, headers=headers)


def too_large() -> HttpResponse:
    return refusal(413, "body_too_large", "The body is larger than this API takes.")


def answer(request: HttpRequest, error: Exception | type[Exception]) -> HttpResponse:  # noqa: PLR0911, PLR0912  a table
    """The one place that turns what went wrong into an answer."""
    match error:
        case HttpError() if isinstance(error.__cause__, ApiError):  # how ninja passes on what its parser refused
            return error.__cause__.response()
        case ApiError():
            return error.response()
        case ValidationError():
            return _invalid(error.errors).response()
        case log.ConversationNotFoundError():
            return refusal(404, "not_found", "There is no such session.")
        case log.ExternalIdTakenError():
            return refusal(409, error.code, str(error), field="external_id")
        case BlankMessageError():
            return refusal(400, error.code, str(error), field="content")
        case ConversationClosedError():
            return refusal(409, error.code, str(error))
        case log.LogError():
            return refusal(400, "invalid_value", str(error))
        case keys.IsolationUnavailableError():
            return refusal(403, "isolation_unavailable", str(error))
        case Http404():
            return refusal(404, "not_found", "There is nothing here.")
        case RequestDataTooBig():
            return too_large()
        case UnreadablePostError():
            return refusal(400, "incomplete_body", "The body ended too early.")
        case DatabaseError() | InterfaceError() if failure(error):
            return unavailable(request, error)
        case DatabaseError() if _state(error) == NO_RIGHT:  # row-level security said no where no rule of ours did
            logger.error("refused by the database", path=request.path, exc_info=error)
            return refusal(403, "forbidden", "This key may not do that.")
    logger.error("api failed", path=request.path, reason=type(error).__name__, exc_info=error)
    return refusal(500, "internal_error", "This is a mistake of ours; it has been logged.")


def counted(request: HttpRequest, error: Exception | type[Exception]) -> HttpResponse:
    """The answer; that a message was not stored, or that the mistake is ours, is counted for staff."""
    response = answer(request, error)
    if response.status_code == 500:
        with suppress(DatabaseError):
            tally.count(tally.API_FAILED)
    if not request.path.endswith(STORING):
        return response
    if response.status_code >= 500:
        code = json.loads(response.content)["error"]
        tally.count_failure(code, at_once=code != DATABASE_AWAY.code)
    elif response.status_code in LOST:
        if isinstance(error, tally.RefusedError) and error.code:
            tally.refused(error)  # of a verb, which counted it unless the transaction was ours
        else:
            tally.count_refusal(json.loads(response.content)["error"])
    return response


def install(api: NinjaAPI) -> None:
    for kind in (Exception, Http404, HttpError, ValidationError):
        api.add_exception_handler(kind, counted)


def _invalid(errors: Iterable[dict[str, Any]]) -> ApiError:
    """The most telling of pydantic's findings: a wrong name before a missing one before a wrong value."""
    found = list(errors)
    if any(error["loc"][0] == "path" for error in found):
        return ApiError(404, "not_found", "There is no such session.")
    for error in found:
        if error["type"] == "extra_forbidden":
            return ApiError(400, "unknown_field", "There is no such field.", field=_field(error))
    missing = [error for error in found if error["type"] == "missing"]
    if any(len(error["loc"]) == MISSING_BODY and error["loc"][0] == "body" for error in missing):
        return ApiError(400, "empty_body", "A JSON object is expected in the body.")
    if missing:
        names = ", ".join(_field(error) for error in missing)
        return ApiError(400, "missing_field", f"Missing: {names}.", field=_field(missing[0]))
    error = found[0]
    code = error["type"] if error.get("ctx", {}).get("ours") else OUR_CODES.get(error["type"], "invalid_value")
    says = error["msg"].replace("valid dictionary", "JSON object")
    return ApiError(400, code, f"{says}.", field=_field(error))


def _field(error: dict[str, Any]) -> str:
    where = error["loc"][2:] if error["loc"][0] == "body" else error["loc"][1:]
    return ".".join(str(part) for part in where)


def _state(error: DatabaseError) -> str | None:
    return error.__cause__.sqlstate if isinstance(error.__cause__, psycopg.Error) else None
