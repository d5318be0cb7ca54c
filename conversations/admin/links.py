"""Ways from page to page: a conversation, a message in it, a turn."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.safestring import SafeString

from config.text import plain
from conversations.models import Conversation


def conversation_url(conversation_id: UUID) -> str:
    return reverse("admin:conversations_conversation_change", args=[conversation_id])


def message_url(conversation_id: UUID, index: int) -> str:
    return f"{conversation_url(conversation_id)}?at={index}#m{index}"


def turn_url(turn_id: UUID) -> str:
    return reverse("admin:conversations_turn_change", args=[turn_id])


def back(request: HttpRequest) -> HttpResponse | None:
    """To the page of ours whose button was pressed; None where it was the list's, which leads to itself."""
    place = request.POST.get("back", "")
    inside = place.startswith(reverse("admin:index")) and url_has_allowed_host_and_scheme(place, allowed_hosts=None)
    return redirect(place) if inside else None


def to_conversation(conversation: Conversation) -> SafeString:
    """A link for a cell of a list."""
    return format_html('<a href="{}"><bdi>{}</bdi></a>', conversation_url(conversation.pk), plain(str(conversation)))


def inert_text(text: str) -> HttpResponse:
    """What somebody else wrote, as text that no browser acts on."""
    response = HttpResponse(text, content_type="text/plain; charset=utf-8")
    response["Content-Security-Policy"] = "default-src 'none'; sandbox; frame-ancestors 'none'"
    return response


def seconds(milliseconds: Any) -> str:
    """1,250 ms as `1.2 s`."""
    return f"{milliseconds / 1000:.1f}"
