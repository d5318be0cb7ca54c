"""How a call is declared: `@calls.call("POST", "/sessions", scope=..., answers=...)` and everything else follows.

The key, its scope and its budget are checked, the body is read strictly, refusals are in the OpenAPI document, and a
key bound to a user runs as that user in the database.
"""

from collections.abc import Callable, Mapping
from functools import wraps
from http import HTTPMethod
from inspect import isasyncgenfunction, iscoroutinefunction
from typing import Any, TypeVar
from uuid import UUID

from django.http import HttpRequest
from ninja import Router
from ninja.operation import Operation

from conversations import sessions
from conversations.api.auth import READS, WRITES, ApiKey, Budget
from conversations.api.errors import ApiError, Refusal
from conversations.isolation import acting_as
from conversations.keys import Caller
from conversations.models import Conversation, Scope

View = TypeVar("View", bound=Callable[..., Any])
Answer = TypeVar("Answer")

EVERY_CALL = (400, 401, 403, 429, 503)
WITH_BODY = (408, 413, 415)


class Calls(Router):
    """A group of calls."""

    def call(  # noqa: PLR0913  keyword-only, each says one thing about the call
        self,
        method: HTTPMethod,
        path: str,
        *,
        scope: Scope,
        answers: Mapping[int, Any],
        refusals: tuple[int, ...] = (),
        budget: Budget | None = None,
        as_service: bool = False,
        **options: Any,
    ) -> Callable[[View], View]:
        """Declare one call; `refusals` are those beyond what every call has.

        `as_service` is for what touches more than the caller's rows, such as the queue: its view proves with
        `own_session` that the caller may, and goes on with the rights of the service.
        """
        counted = budget or (READS if method == HTTPMethod.GET else WRITES)
        codes = sorted({*EVERY_CALL, *refusals, *(WITH_BODY if method == HTTPMethod.POST else ())})

        def declare(view: View) -> View:
            sync = not (iscoroutinefunction(view) or isasyncgenfunction(view))
            self.api_operation(
                [method.value],
                path,
                auth=ApiKey(scope, counted),
                response={**answers, **dict.fromkeys(codes, Refusal)},
                operation_id=view.__name__,
                **options,
            )(
                view
                if iscoroutinefunction(view) or isasyncgenfunction(view)
                else _as_caller(view, as_service=as_service)
            )
            return view

        return declare


def run_as(caller: Caller, ask: Callable[[], Answer]) -> Answer:
    """Call `ask` with the caller's rights in the database. Async calls hand this to a thread."""
    if caller.user_id is None:
        return ask()
    with acting_as(caller.user_id):
        return ask()


def refuse_unknown_parameters(request: HttpRequest, operation: Operation) -> None:
    """A misspelt parameter would be ignored without a word, and one given twice half ignored."""
    known = {
        name
        for model in operation.models
        if model.__ninja_param_source__ == "query"
        for name in model.__ninja_flatten_map__
    }
    for name, values in request.GET.lists():
        if name not in known:
            raise ApiError(400, "unknown_field", "There is no such parameter.", field=name[:100])
        if len(values) > 1:
            raise ApiError(400, "duplicate_field", "A parameter is given twice.", field=name)


def own_session(request: HttpRequest, session_id: UUID) -> Conversation:
    """For views that run as service: the session, if PostgreSQL shows it to this caller, else 404."""
    return run_as(request.auth, lambda: sessions.get(session_id))  # type: ignore[attr-defined]


def _as_caller(view: Callable[..., Any], *, as_service: bool) -> Callable[..., Any]:
    @wraps(view)
    def run(request: HttpRequest, **values: Any) -> Any:
        refuse_unknown_parameters(request, run._ninja_operation)  # type: ignore[attr-defined]  # set by ninja
        if as_service:
            return view(request, **values)
        return run_as(request.auth, lambda: view(request, **values))  # type: ignore[attr-defined]

    return run
