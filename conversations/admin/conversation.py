"""The list of conversations, and the way into a transcript."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import F, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import URLPattern
from django.utils.translation import gettext_lazy as _

from config.admin import ChoicesDropdownFilter, DateRange, ReadOnlyAdmin, RecentValues, display
from config.text import plain
from conversations.admin import links, transcript
from conversations.admin.desk import Desk
from conversations.admin.following import Following
from conversations.admin.playground import Playground
from conversations.admin.tuner import Tuner
from conversations.legacy import export
from conversations.models import Conversation, Message, Mode

# Exactly the index conversations_staff_list; any other order would sort the table.
NEWEST = (F("last_message_at").desc(nulls_last=True), F("id").desc())
NUMBER = re.compile(r"-?\d{1,18}", re.ASCII)
MOST_AT_ONCE = 10_000  # conversations of one export; the command knows no such end
SEARCHED_FROM_PALETTE = 10_000  # newest conversations: the palette asks at every pause in typing


class ByChannel(RecentValues):
    """Which way people came."""

    title = _("channel")
    parameter_name = column = "channel"
    newest = NEWEST


class ByAgent(RecentValues):
    """Whom they talk to."""

    title = _("agent")
    parameter_name = column = "agent_id"
    newest = NEWEST


@admin.register(Conversation)
class ConversationAdmin(Desk, Playground, Following, Tuner, ReadOnlyAdmin):
    """Read only: what was said is not edited. Staff may speak in the agent's place."""

    icon = "forum"
    empty_hint = _("A conversation begins when somebody writes to a bot, over the API, or in the playground.")
    list_display = ("name", "channel", "user_id", "shown_mode", "shown_count", "last_message_at")
    list_filter = (ByChannel, ("mode", ChoicesDropdownFilter), ByAgent, ("last_message_at", DateRange))
    list_filter_submit = True
    search_fields = ("title",)  # and more: get_search_results
    search_help_text = _("Title, id, user or chat")
    ordering = NEWEST
    sortable_by = ()
    list_per_page = 50
    actions = ("export_jsonl", "export_csv")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Conversation]:
        return super().get_queryset(request).select_related("agent").defer("metadata")  # type: ignore[no-any-return]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Conversation], search_term: str
    ) -> tuple[QuerySet[Conversation], bool]:
        """An id finds its conversation, a number the user's; else the number's chats, and whatever titles contain."""
        text = search_term.strip()
        if not text:
            return queryset, False
        if identity := _uuid(text):
            return queryset.filter(pk=identity), False
        number = int(text) if NUMBER.fullmatch(text) else None
        if number is not None and (of_user := queryset.filter(user_id=number)).exists():
            return of_user, False  # by index; together with the others below it would be a scan
        if request.resolver_match and request.resolver_match.url_name == "search":
            queryset = _among_newest(queryset)
        condition = Q(title__icontains=text)
        if number is not None:
            condition |= Q(chat_id=number)
        return queryset.filter(condition), False

    def get_urls(self) -> list[URLPattern]:
        views: dict[str, Callable[..., HttpResponseBase]] = {
            "message/<int:index>": self.message_text, "take-over": self.take_over, "hand-back": self.hand_back,
            "reply": self.reply, "say": self.say, "typing": self.typing,
        }  # fmt: skip
        pages: dict[str, Callable[..., HttpResponseBase]] = {
            "playground": self.playground, "tuner": self.tuner, "events": self.events,
            "said/<uuid:message_id>": self.said,
        }  # fmt: skip
        of_one = self.urls_below("<uuid:conversation_id>", views)
        return [*self.urls_below("", pages), *of_one, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The transcript stands where other models have their form."""
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET", "HEAD"])
        conversation = self._open(request, _uuid(unquote(object_id)))
        if conversation is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[no-any-return]
        return transcript.show(self, request, conversation)

    def message_text(self, request: HttpRequest, conversation_id: UUID, index: int) -> HttpResponse:
        """One message whole, as plain text."""
        if self._open(request, conversation_id) is None:
            raise Http404
        message = Message.objects.filter(conversation_id=conversation_id, message_index=index).first()
        if message is None:
            raise Http404
        return links.inert_text(message.content)

    def said(self, request: HttpRequest, message_id: UUID) -> HttpResponse:
        """From a message's id to its place in the transcript."""
        found = Message.objects.filter(pk=message_id).values_list("conversation_id", "message_index").first()
        if not self.has_view_permission(request):
            raise PermissionDenied
        if found is None:
            self.message_user(request, _("This message is gone: its conversation was erased."), messages.WARNING)
            return redirect("admin:conversations_conversation_changelist")
        return redirect(links.message_url(*found))

    @admin.action(description=_("Export as JSON lines"), permissions=["view"])
    def export_jsonl(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> StreamingHttpResponse:
        return self._export(request, queryset, "jsonl")

    @admin.action(description=_("Export as CSV"), permissions=["view"])
    def export_csv(self, request: HttpRequest, queryset: QuerySet[Conversation]) -> StreamingHttpResponse:
        return self._export(request, queryset, "csv")

    def _export(
        self, request: HttpRequest, queryset: QuerySet[Conversation], file_format: str
    ) -> StreamingHttpResponse:
        """Every message of the chosen conversations, row by row."""
        chosen = Conversation.objects.filter(pk__in=list(queryset.values_list("pk", flat=True)[:MOST_AT_ONCE]))
        lines = export.lines(chosen, file_format, by=request.user.get_username())
        response = StreamingHttpResponse(lines, content_type=f"{export.FORMATS[file_format]}; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="conversations.{file_format}"'
        return response

    def _open(self, request: HttpRequest, identity: UUID | None) -> Conversation | None:
        conversation = Conversation.objects.filter(pk=identity).first() if identity else None
        if not self.has_view_permission(request, conversation):
            raise PermissionDenied
        return conversation

    @display(description=_("conversation"))
    def name(self, conversation: Conversation) -> str:
        return plain(str(conversation))

    @display(
        description=_("mode"), label={Mode.AUTO.value: "success", Mode.MANUAL.value: "warning", Mode.CLOSED.value: ""}
    )
    def shown_mode(self, conversation: Conversation) -> tuple[str, str]:
        return conversation.mode, conversation.get_mode_display()

    @display(description=_("messages"))
    def shown_count(self, conversation: Conversation) -> int:
        return conversation.visible_count


def _among_newest(queryset: QuerySet[Conversation]) -> QuerySet[Conversation]:
    """By a moment in time, which is a range of the list's index."""
    moments = Conversation.objects.order_by(*NEWEST).values_list("last_message_at", flat=True)
    oldest = next(iter(moments[SEARCHED_FROM_PALETTE : SEARCHED_FROM_PALETTE + 1]), None)
    return queryset.filter(last_message_at__gte=oldest) if oldest else queryset


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text) if len(text) >= 32 else None
    except ValueError:
        return None
