"""Where a request goes."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

from config import health
from config.metrics import metrics

handler400 = "config.errors.bad_request"
handler403 = "config.errors.permission_denied"
handler404 = "config.errors.page_not_found"
handler500 = "config.errors.server_error"


def favicon(_request: HttpRequest) -> HttpResponse:
    """Asked for by browsers on pages without an icon of their own: JSON, metrics."""
    return redirect(static("config/logo.svg"))


urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/", include("search.urls")),
    path("admin/", admin.site.urls),
    path("api/", include("conversations.api.urls")),
    path("telegram/", include("conversations.channels.telegram.urls")),
    path("favicon.ico", favicon),
    path("i18n/", include("django.conf.urls.i18n")),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
]
