"""What happens around every request: an id for the logs, security headers, and an honest answer without a database."""

import re
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any

import structlog
from asgiref.sync import iscoroutinefunction
from django.conf import settings
from django.db import DatabaseError, DataError, InterfaceError
from django.http import HttpRequest, HttpResponse, HttpResponsePermanentRedirect
from django.middleware.common import CommonMiddleware
from django.utils.decorators import sync_and_async_middleware
from django.utils.deprecation import MiddlewareMixin

from config import errors
from config.postgresql.failures import failure

Response = Any
GetResponse = Callable[[HttpRequest], Response | Awaitable[Response]]

log = structlog.get_logger(__name__)

REQUEST_ID = "X-Request-ID"
SANE_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")

SELF_ONLY = "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'self'; form-action 'self'; "
STRICT = SELF_ONLY + "object-src 'none'"
ADMIN = SELF_ONLY + "object-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'"
PROBES = ("/healthz", "/readyz")
# The admin theme evaluates Alpine.js expressions and sets inline styles (ADR 0004); everything else gets STRICT.
POLICIES = {"/admin/": ADMIN}
# For developers alone: Django's own error pages bring everything inline, ours that refuse a form are pages like others.
DEBUG_PAGE = SELF_ONLY + "script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'"


@sync_and_async_middleware
def request_id(get_response: GetResponse) -> GetResponse:
    """Give the request an id, its own or a fresh one; every log line and task that comes of it carries the id."""

    def bound(request: HttpRequest) -> tuple[str, AbstractContextManager[None]]:
        offered = request.headers.get(REQUEST_ID, "")
        chosen = offered if SANE_ID.fullmatch(offered) else secrets.token_hex(8)
        return chosen, structlog.contextvars.bound_contextvars(request_id=chosen)

    if iscoroutinefunction(get_response):

        async def around_async(request: HttpRequest) -> Response:
            chosen, context = bound(request)
            with context:
                response = await get_response(request)
            response[REQUEST_ID] = chosen
            return response

        return around_async

    def around(request: HttpRequest) -> Response:
        chosen, context = bound(request)
        with context:
            response: Response = get_response(request)
        response[REQUEST_ID] = chosen
        return response

    return around


@sync_and_async_middleware
def security_headers(get_response: GetResponse) -> GetResponse:
    """Send the content security policy of the page's part of the site."""

    def finished(request: HttpRequest, response: Response) -> Response:
        policy = next((policy for path, policy in POLICIES.items() if request.path_info.startswith(path)), STRICT)
        if settings.DEBUG and response.status_code >= 400:
            policy = DEBUG_PAGE
        if request.path_info.startswith("/admin/") and "_popup" in request.GET:
            # The theme from 0.110 on opens the form of a related record in a frame of the page that asks for it.
            policy = policy.replace("frame-ancestors 'none'", "frame-ancestors 'self'")
            response.headers["X-Frame-Options"] = "SAMEORIGIN"
        else:
            response.headers["X-Frame-Options"] = "DENY"
        response.headers.setdefault("Content-Security-Policy", policy)
        response.headers.setdefault("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
        return response

    if iscoroutinefunction(get_response):

        async def around_async(request: HttpRequest) -> Response:
            return finished(request, await get_response(request))

        return around_async

    def around(request: HttpRequest) -> Response:
        return finished(request, get_response(request))

    return around


class Common(CommonMiddleware):
    """Django's own, which refuses a foreign Host header, but not to probes: they ask by the address of the machine."""

    def process_request(self, request: HttpRequest) -> HttpResponsePermanentRedirect | None:
        return None if request.path_info in PROBES else super().process_request(request)


class DatabaseAway(MiddlewareMixin):
    """Answer 503, not 500, while PostgreSQL is away or busy; 400 where it cannot hold what was sent."""

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponse | None:
        if isinstance(exception, (DatabaseError, InterfaceError)) and failure(exception):
            return errors.unavailable(request, exception)
        if isinstance(exception, DataError):  # a NUL in a filter, a year 10000, a number beyond bigint
            log.warning("value refused", path=request.path, exc_info=exception)
            return errors.bad_request(request, exception)
        return None
