"""Which bots run."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import DurationField, ExpressionWrapper, F, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from config.admin import ReadOnlyAdmin, display
from config.columns import clock
from conversations.bots import SILENT
from conversations.models import Bot

STATES = {"stopped": _("stopped"), "silent": _("no sign of life"), "runs": _("runs")}


@admin.register(Bot)
class BotAdmin(ReadOnlyAdmin):
    """Read only: a bot is started and stopped where it runs."""

    icon = "smart_toy"
    empty_hint = _("manage.py bot --channel telegram runs one: docs/telegram.md.")
    in_palette = False
    list_display = ("account", "channel", "shown_state", "host", "pid", "started_at", "beat_at", "stopped_at")
    ordering = ("channel", "account")
    sortable_by = ()

    def get_queryset(self, request: HttpRequest) -> QuerySet[Bot]:
        """The state is asked of the database: its clock says what is late."""
        age = ExpressionWrapper(clock() - F("beat_at"), output_field=DurationField())
        rows: QuerySet[Bot] = super().get_queryset(request).annotate(age=age)
        return rows

    @display(description=_("state"), label={"runs": "success", "silent": "danger", "stopped": "info"})
    def shown_state(self, bot: Any) -> tuple[str, Any]:
        state = "stopped" if bot.stopped_at else "silent" if bot.age.total_seconds() > SILENT else "runs"
        return state, STATES[state]
