"""Puts the calls together and gives every address under /api/ one door."""

from collections.abc import Callable
from datetime import datetime
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any

from django.http import Http404, HttpRequest, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.urls import path
from ninja.renderers import JSONRenderer
from ninja.responses import NinjaJSONEncoder

from conversations.api import errors, inbound, messages, search, sessions, turns
from conversations.api.auth import refuse_key_in_query
from conversations.api.bodies import StrictParser
from conversations.api.document import DocumentedAPI
from conversations.moments import as_text

View = Callable[..., Any]  # sync ones answer, async ones promise to

DESCRIPTION = """Conversations with agents that listen before they answer. Every call takes a key from
`manage.py apikey create NAME` as `Authorization: Bearer <key>`. Every refusal is `{"error", "detail", "field"?}`."""


class Encoder(NinjaJSONEncoder):
    """Times as everywhere."""

    def default(self, o: Any) -> Any:
        return as_text(o) if isinstance(o, datetime) else super().default(o)


class Renderer(JSONRenderer):
    encoder_class = Encoder


def _api() -> DocumentedAPI:
    api = DocumentedAPI(
        title="Parley",
        version="1",
        description=DESCRIPTION,
        parser=StrictParser(),
        renderer=Renderer(),
        docs_url="/docs",
        openapi_url="/openapi.json",
        urls_namespace="api",
        servers=[{"url": "/"}],
    )
    errors.install(api)
    for group in (sessions, messages, inbound, turns, search):
        api.add_router("", group.calls)
    return api


def door(view: View) -> View:
    """Around every view: refuse keys in the address, answer in JSON whatever happens, let nobody cache it."""

    def finished(response: HttpResponseBase) -> HttpResponseBase:
        if isinstance(response, HttpResponseNotAllowed):
            allow = {"Allow": response.headers["Allow"]}
            response = errors.refusal(405, "method_not_allowed", "This address has no such method.", headers=allow)
        response.headers.setdefault("Cache-Control", "no-store")
        return response

    if iscoroutinefunction(view):

        @wraps(view)
        async def enter_async(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            try:
                refuse_key_in_query(request)
                return finished(await view(request, *args, **kwargs))
            except Exception as error:
                return finished(errors.answer(request, error))

        return enter_async

    @wraps(view)
    def enter(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            refuse_key_in_query(request)
            return finished(view(request, *args, **kwargs))
        except Exception as error:
            return finished(errors.answer(request, error))

    return enter


def nothing_here(_request: HttpRequest, rest: str) -> HttpResponseBase:
    raise Http404(rest)


nothing_here.csrf_exempt = True  # type: ignore[attr-defined]  # the answer is 404, not a lesson in CSRF

api = _api()
app_name = "api"  # by which ninja finds its own addresses
_patterns = api.urls[0]
for _pattern in _patterns:
    _pattern.callback = door(_pattern.callback) if _pattern.callback else None
urlpatterns = [*_patterns, path("<path:rest>", door(nothing_here))]
