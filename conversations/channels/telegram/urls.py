"""The webhook's address. The library behind it is imported with the first update, not with the site."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.module_loading import import_string
from django.views.decorators.csrf import csrf_exempt


@csrf_exempt
def webhook(request: HttpRequest, **where: Any) -> HttpResponse:
    answer: HttpResponse = import_string("conversations.channels.telegram.webhook.webhook")(request, **where)
    return answer


urlpatterns = [path("webhook/<slug:bot>", webhook, name="telegram-webhook")]
