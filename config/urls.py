"""Where a request goes."""

import sys

from django.contrib import admin
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views.defaults import server_error
from django.views.generic import RedirectView

from config import health
from config.metrics import metrics
from config.middleware import unavailable


def handler500(request: HttpRequest) -> HttpResponse:
    """An outage met outside a view (sessions, login) is told apart from a bug here, too."""
    error = sys.exc_info()[1]
    if isinstance(error, (OperationalError, InterfaceError)):
        return unavailable(request, error)
    return server_error(request)


urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", admin.site.urls),
    path("api/", include("conversations.api.urls")),
    path("i18n/", include("django.conf.urls.i18n")),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("metrics", metrics),
]
