"""How long a staff login lasts: half an hour without a sign of its owner, twelve hours in any case."""

from __future__ import annotations

import time

from django.conf import settings
from django.contrib.auth import SESSION_KEY, logout
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from config import logins

BEGAN, SEEN = "began_at", "seen_at"
SEEN_STEP = 60  # seconds: how exact "seen" is, and how seldom it costs a write
BY_ITSELF = (
    "X-Background"  # a page that refreshes itself sends this: it shows that the page is open, not that anyone looks
)


class StaffSessions(MiddlewareMixin):
    """End a staff session that idles or is old. The cookie's own age (SESSION_COOKIE_AGE) grows with every write."""

    def process_request(self, request: HttpRequest) -> None:
        if not request.path_info.startswith("/admin/") or SESSION_KEY not in request.session:
            return
        now = int(time.time())
        session = request.session
        began, seen = session.setdefault(BEGAN, now), session.setdefault(SEEN, now)
        if now - began > settings.SESSION_COOKIE_AGE or now - seen > settings.SESSION_IDLE_AGE:
            logout(request)
        elif now - seen >= SEEN_STEP and BY_ITSELF not in request.headers:
            session[SEEN] = now

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        logins.remember_device(request, response)
        return response
