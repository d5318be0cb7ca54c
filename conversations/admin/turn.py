"""The list of turns, and the way into a turn's story."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.db.models import Func, IntegerField, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import URLPattern, path
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from config.admin import ChoicesDropdownFilter, DateRange, ReadOnlyAdmin, display
from conversations import turns
from conversations.admin import links, story
from conversations.errors import NothingToRetryError
from conversations.log import ConversationNotFoundError
from conversations.models import Turn, TurnStatus

MOST_AT_ONCE = 500  # turns of one action; each takes a lock and a transaction
LONG = ("input", "trace", "draft", "error")
COLOURS = {
    TurnStatus.WAITING.value: "info",
    TurnStatus.RUNNING.value: "info",
    TurnStatus.DONE.value: "success",
    TurnStatus.SUPERSEDED.value: "warning",
    TurnStatus.FAILED.value: "danger",
    TurnStatus.WITHDRAWN.value: "warning",
}


@admin.register(Turn)
class TurnAdmin(ReadOnlyAdmin):
    """Read only, but for trying a failed one again."""

    in_palette = False
    icon = "swap_horiz"
    empty_hint = _("A burst that was quiet long enough becomes a turn. Write to an agent in the playground to see one.")
    list_display = (
        "created_at", "shown_status", "trigger", "talk", "shown_size", "shown_waited", "shown_late", "attempts",
        "shown_tokens",
    )  # fmt: skip
    list_filter = (
        ("status", ChoicesDropdownFilter),
        ("trigger", ChoicesDropdownFilter),
        ("created_at", DateRange),
    )
    list_filter_submit = True
    ordering = ("-created_at", "-id")  # the index turns_latest
    sortable_by = ()
    list_per_page = 50
    actions = ("try_again",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Turn]:
        size = Func("input", function="jsonb_array_length", output_field=IntegerField())
        rows: QuerySet[Turn] = super().get_queryset(request).annotate(size=size)
        return rows.select_related("conversation").defer("conversation__metadata", *LONG)

    def has_handle_permission(self, request: HttpRequest, *_args: Any) -> bool:
        return request.user.has_perm("conversations.change_turn")

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.record)
        urls: list[URLPattern] = super().get_urls()
        return [path("<uuid:turn_id>/record/", view, name="conversations_turn_record"), *urls]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The story stands where other models have their form."""
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET", "HEAD"])
        turn = self._open(request, unquote(object_id))
        if turn is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[no-any-return]
        return story.show(self, request, turn)

    def record(self, request: HttpRequest, turn_id: UUID) -> HttpResponse:
        """Everything that is kept of the run, whole, as plain text."""
        turn = self._open(request, str(turn_id))
        if turn is None:
            raise Http404
        return links.inert_text(json.dumps(turn.trace, ensure_ascii=False, indent=2))

    @admin.action(description=_("Try again"), permissions=["handle"])
    def try_again(self, request: HttpRequest, queryset: QuerySet[Turn]) -> HttpResponse | None:
        chosen = list(queryset.order_by("id").values_list("pk", flat=True)[:MOST_AT_ONCE])
        by = request.user.get_username()
        again = sum(_retried(turn_id, by=by) for turn_id in chosen)
        if again:
            messages.success(request, ngettext("%d turn runs again.", "%d turns run again.", again) % again)
        if left := len(chosen) - again:
            messages.warning(
                request, _("Only failed turns where the agent answers can be tried again; left alone: %d.") % left
            )
        return links.back(request)

    def _open(self, request: HttpRequest, object_id: str) -> Turn | None:
        try:
            turn = Turn.objects.select_related("conversation").filter(pk=UUID(object_id)).first()
        except ValueError:
            return None
        return turn if self.has_view_permission(request, turn) else None

    @display(description=_("status"), label=COLOURS)
    def shown_status(self, turn: Turn) -> tuple[str, str]:
        return turn.status, turn.get_status_display()

    @display(description=_("conversation"))
    def talk(self, turn: Turn) -> SafeString:
        return links.to_conversation(turn.conversation)

    @display(description=_("messages"))
    def shown_size(self, turn: Any) -> int:
        return int(turn.size)

    @display(description=_("waited, s"))
    def shown_waited(self, turn: Turn) -> str:
        return links.seconds(turn.waited_ms)

    @display(description=_("late, s"))
    def shown_late(self, turn: Turn) -> str:
        late = story.lateness(turn)
        return "–" if late is None else f"{late:.2f}"

    @display(description=_("tokens"))
    def shown_tokens(self, turn: Turn) -> str:
        return f"{turn.input_tokens} + {turn.output_tokens}"


def _retried(turn_id: UUID, *, by: str) -> bool:
    try:
        turns.retry(turn_id, by=by)
    except (NothingToRetryError, ConversationNotFoundError):
        return False
    return True
