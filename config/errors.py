"""What people and machines see when a request cannot be answered: one page, one JSON shape, no database needed."""

from __future__ import annotations

import base64
import hashlib
import sys
from dataclasses import dataclass
from functools import cache

import structlog
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import get_template
from django.urls import get_script_prefix
from django.utils.functional import Promise
from django.utils.translation import get_language, override
from django.utils.translation import gettext_lazy as _

from config.postgresql.failures import Failure, failure

log = structlog.get_logger(__name__)

RETRY_AFTER = "5"  # seconds: a restart of PostgreSQL is usually over by then
FOR_MACHINES = ("/api/", "/healthz", "/readyz", "/metrics", "/telegram/")


@dataclass(frozen=True)
class Trouble:
    """Why a request was not answered, for people and for machines."""

    status: int
    code: str
    title: Promise
    text: Promise


BAD_REQUEST = Trouble(
    400,
    "bad_request",
    _("This request makes no sense to us"),
    _("Something in the address or in the form is not what this page expects. Nothing was changed."),
)
FORBIDDEN = Trouble(
    403,
    "forbidden",
    _("You may not see this"),
    _("Your account lacks the permission for this page. Whoever manages staff accounts can grant it."),
)
STALE_FORM = Trouble(
    403,
    "csrf_failed",
    _("This form is out of date"),
    _("It was opened before you logged in, or cookies are switched off. Go back, reload the page and try again."),
)
NOT_FOUND = Trouble(
    404, "not_found", _("There is nothing here"), _("The address is mistyped, or what was here is gone.")
)
BROKEN = Trouble(
    500,
    "internal_error",
    _("Something broke on our side"),
    _("It is in the log under the number below. What was stored before is safe."),
)
DATABASE_AWAY = Trouble(
    503,
    "database_unavailable",
    _("The database is away"),
    _("Nothing is lost: what was stored is stored. This page tries again every five seconds."),
)
BUSY = Trouble(
    503,
    "busy",
    _("This is busy at the moment"),
    _("Somebody else holds what you asked for, or it took too long. Nothing was changed. This page tries again."),
)
AGAIN = (DATABASE_AWAY, BUSY)  # whose page loads itself anew


def bad_request(request: HttpRequest, exception: object = None) -> HttpResponse:  # noqa: ARG001  Django passes it
    return answer(request, BAD_REQUEST)


def permission_denied(request: HttpRequest, exception: object = None) -> HttpResponse:  # noqa: ARG001
    return answer(request, FORBIDDEN)


def page_not_found(request: HttpRequest, exception: object = None) -> HttpResponse:  # noqa: ARG001
    return answer(request, NOT_FOUND)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    log.warning("csrf refused", path=request.path, reason=reason)
    return answer(request, STALE_FORM)


def server_error(request: HttpRequest) -> HttpResponse:
    """A failure of the database met outside a view (sessions, login) is told apart from a bug."""
    error = sys.exc_info()[1]
    if error is not None and failure(error):
        return unavailable(request, error)
    return answer(request, BROKEN)


def unavailable(request: HttpRequest, reason: BaseException) -> HttpResponse:
    """503 with the reason: somebody else's lock or a limit of time, or no database. A trace only where the server still
    said something: which statement it was is worth knowing; that nobody answers is said by one line a request."""
    kind = failure(reason)
    answered = getattr(reason.__cause__, "sqlstate", None) is not None
    detail = " ".join(str(reason).split())[:200]
    log.error(
        "database.request_timed_out" if kind is Failure.BUSY else "database away",
        path=request.path, kind=kind, reason=type(reason).__name__, detail=detail,
        exc_info=reason if answered else None,
    )  # fmt: skip
    response = answer(request, BUSY if kind is Failure.BUSY else DATABASE_AWAY)
    response["Retry-After"] = RETRY_AFTER
    return response


def answer(request: HttpRequest, trouble: Trouble) -> HttpResponse:
    """English JSON for machines; for people a page that loads nothing, so no broken part of the site can break it."""
    if request.path_info.startswith(FOR_MACHINES):
        with override("en"):
            return JsonResponse({"error": trouble.code, "detail": str(trouble.title)}, status=trouble.status)
    context = {
        "trouble": trouble,
        "home": f"{get_script_prefix()}admin/",  # put together by hand: what is broken may be the list of addresses
        "language": get_language() or "en",
        "style": _style(),
        "again": trouble in AGAIN,
        "request_id": structlog.contextvars.get_contextvars().get("request_id", ""),
    }
    page = HttpResponse(get_template("config/error.html").render(context), status=trouble.status)
    page["Content-Security-Policy"] = _policy()
    return page


@cache
def _style() -> str:
    return get_template("config/error.css").render().strip()


@cache
def _policy() -> str:
    """Only the page's own style, named by its hash."""
    digest = base64.b64encode(hashlib.sha256(_style().encode()).digest()).decode()
    return (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
