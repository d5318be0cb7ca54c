"""What agents did and keep: tool calls, with the approvals they wait for, and the checkpoints of turns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext_lazy as _
from unfold.decorators import action, display

from agents import approvals
from agents.approvals import NothingToDecideError
from agents.models import CheckpointThread, ToolCall
from config.admin import ModelAdmin

COLOURS = {"done": "success", "waiting": "warning", "refused": "danger", "failed": "danger", "denied": "danger"}


class ReadOnly(ModelAdmin):
    """Rows that only code writes."""

    in_palette = False
    list_per_page = 50

    def has_add_permission(self, *_args: Any) -> bool:
        return False

    def has_change_permission(self, *_args: Any) -> bool:
        return False

    def has_delete_permission(self, *_args: Any) -> bool:
        return False


@admin.register(ToolCall)
class ToolCallAdmin(ReadOnly):
    """Every call a model asked for; those of high impact are decided here."""

    list_display = ["tool", "shown_status", "agent", "user_id", "created_at", "milliseconds", "decided_by"]
    list_filter = ["status", "tool"]
    search_fields = ["=turn_id", "=conversation_id"]
    search_help_text = _("Turn or conversation")
    ordering = ["-id"]
    actions = ["approve", "deny"]

    def has_handle_permission(self, request: HttpRequest, *_args: Any) -> bool:
        return request.user.has_perm("agents.change_toolcall")

    @display(description=_("status"), ordering="status", label=COLOURS)  # type: ignore[untyped-decorator]
    def shown_status(self, call: ToolCall) -> tuple[str, str]:
        return call.status, str(call.get_status_display())

    @action(description=_("Approve: let it happen"), permissions=["handle"])  # type: ignore[untyped-decorator]
    def approve(self, request: HttpRequest, queryset: QuerySet[ToolCall]) -> None:
        self._decide(request, queryset, approvals.approve)

    @action(description=_("Deny"), permissions=["handle"])  # type: ignore[untyped-decorator]
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
class CheckpointThreadAdmin(ReadOnly):
    """How much each turn keeps."""

    list_display = ["thread_id", "checkpoints", "shown_size", "last_at"]
    search_fields = ["=thread_id"]
    ordering = ["-size"]

    @display(description=_("size"), ordering="size")  # type: ignore[untyped-decorator]
    def shown_size(self, thread: CheckpointThread) -> str:
        return filesizeformat(thread.size)
