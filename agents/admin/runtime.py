"""What agents did and keep: tool calls, with the approvals they wait for, and the checkpoints of turns."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.defaultfilters import filesizeformat
from django.urls import URLPattern, path
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from agents import approvals
from agents.approvals import NothingToDecideError
from agents.models import CallStatus, CheckpointThread, ToolCall
from config import places
from config.admin import ChoicesDropdownFilter, DateRange, ReadOnlyAdmin, RecentValues, display
from config.text import pieces, plain

COLOURS = {
    "done": "success",
    "waiting": "warning",
    "unknown": "warning",
    "refused": "danger",
    "failed": "danger",
    "denied": "danger",
}
DECISIONS: dict[str, Callable[..., None]] = {
    "approve": approvals.approve,
    "deny": approvals.deny,
    "happened": partial(approvals.settle, happened=True),
    "not_happened": partial(approvals.settle, happened=False),
}
SUMMARY = 60  # characters of the arguments in a list


class ByTool(RecentValues):
    """Named as models named it, existing or not."""

    title = _("tool")
    parameter_name = column = "tool"
    newest = ("-id",)


@admin.register(ToolCall)
class ToolCallAdmin(ReadOnlyAdmin):
    """Every call a model asked for; those of high impact are decided here."""

    icon = "function"
    empty_hint = _("An agent whose configuration names tools calls them here, and what needs your approval waits here.")
    in_palette = False
    list_per_page = 50
    list_display = (
        "shown_tool", "shown_status", "summary", "shown_agent", "user_id", "created_at", "milliseconds"
    )  # fmt: skip
    list_filter = (("status", ChoicesDropdownFilter), ByTool, ("created_at", DateRange))
    list_filter_submit = True
    search_fields = ("=turn_id", "=conversation_id")
    search_help_text = _("Turn or conversation")
    ordering = ("-id",)
    sortable_by = ()
    actions = ("approve", "deny")
    change_form_outer_after_template = "agents/decide.html"
    fields = (
        "shown_tool", "shown_status", "shown_arguments", "shown_result", "shown_agent", "agent_version", "user_id",
        "sentence", "turn", "conversation", "number", "created_at", "milliseconds", "decided_by", "decided_at",
    )  # fmt: skip
    readonly_fields = fields

    def has_handle_permission(self, request: HttpRequest, *_args: Any) -> bool:
        return request.user.has_perm("agents.change_toolcall")

    def get_urls(self) -> list[URLPattern]:
        decide = self.admin_site.admin_view(self.decide)
        urls: list[URLPattern] = super().get_urls()
        return [path("<uuid:call_id>/decide/", decide, name="agents_toolcall_decide"), *urls]

    @method_decorator(require_POST)
    def decide(self, request: HttpRequest, call_id: UUID) -> HttpResponse:
        """From the page of the call, with what it asks for in sight."""
        decision = DECISIONS.get(request.POST.get("decision", ""))
        if not self.has_handle_permission(request):
            raise PermissionDenied
        if decision is None or not ToolCall.objects.filter(pk=call_id).exists():
            raise Http404
        self._decide(request, ToolCall.objects.filter(pk=call_id), decision)
        return redirect("admin:agents_toolcall_change", call_id)

    @display(description=_("tool"))
    def shown_tool(self, call: ToolCall) -> str:
        return plain(call.tool)

    @display(description=_("agent"))
    def shown_agent(self, call: ToolCall) -> str:
        return plain(call.agent)

    @display(description=_("status"), label=COLOURS)
    def shown_status(self, call: ToolCall) -> tuple[str, str]:
        return call.status, str(CallStatus(call.status).label)

    @display(description=_("arguments"))
    def summary(self, call: ToolCall) -> str:
        text = plain(", ".join(f"{key}: {value}" for key, value in call.arguments.items()))
        return text if len(text) <= SUMMARY else f"{text[: SUMMARY - 1]}…"

    @display(description=_("arguments"))
    def shown_arguments(self, call: ToolCall) -> str:
        return format_html(
            "<pre class='told'>{}</pre>", _visible(json.dumps(call.arguments, ensure_ascii=False, indent=2))
        )

    @display(description=_("result"))
    def shown_result(self, call: ToolCall) -> str:
        return format_html("<pre class='told'>{}</pre>", _visible(call.result)) if call.result else "–"

    @display(description=_("because of"))
    def sentence(self, call: ToolCall) -> str:
        return _link(places.page_of("message", call.message_id), _("show me the sentence"))

    @display(description=_("turn"))
    def turn(self, call: ToolCall) -> str:
        return _link(places.page_of("turn", call.turn_id), _("why it waited, what it saw"))

    @display(description=_("conversation"))
    def conversation(self, call: ToolCall) -> str:
        return _link(places.page_of("conversation", call.conversation_id), _("the transcript"))

    @admin.action(description=_("Approve: let it happen"), permissions=["handle"])
    def approve(self, request: HttpRequest, queryset: QuerySet[ToolCall]) -> None:
        self._decide(request, queryset, approvals.approve)

    @admin.action(description=_("Deny"), permissions=["handle"])
    def deny(self, request: HttpRequest, queryset: QuerySet[ToolCall]) -> None:
        self._decide(request, queryset, approvals.deny)

    def _decide(self, request: HttpRequest, queryset: QuerySet[ToolCall], decide: Callable[..., None]) -> None:
        decided = left = 0
        ids: list[UUID] = list(queryset.values_list("pk", flat=True))
        for id_ in ids:
            try:
                decide(id_, by=request.user.get_username())
                decided += 1
            except NothingToDecideError:
                left += 1
        messages.success(request, _("Decided: %d.") % decided)
        if left:
            messages.warning(request, _("Only what waits for approval can be decided; left alone: %d.") % left)


@admin.register(CheckpointThread)
class CheckpointThreadAdmin(ReadOnlyAdmin):
    """How much each turn keeps."""

    icon = "save"
    empty_hint = _("Every turn that runs keeps its steps here for some days.")
    in_palette = False
    list_per_page = 50
    list_display = ("thread_id", "checkpoints", "shown_size", "last_at")
    search_fields = ("=thread_id",)
    search_help_text = _("Turn")
    ordering = ("-size",)
    sortable_by = ()
    actions = None
    fields = ("turn", "checkpoints", "shown_size", "last_at")
    readonly_fields = fields

    @display(description=_("turn"))
    def turn(self, thread: CheckpointThread) -> str:
        return _link(places.page_of("turn", thread.thread_id), thread.thread_id)

    @display(description=_("size"))
    def shown_size(self, thread: CheckpointThread) -> str:
        return filesizeformat(thread.size)


def _link(page: str, says: object) -> str:
    return format_html('<a class="place" href="{}">{}</a>', page, says) if page else "–"


def _visible(text: str) -> str:
    """As it stands, with what cannot be seen spelled out."""
    return "".join(f"⟨{piece.text}⟩" if piece.unseen else piece.text for piece in pieces(text))
