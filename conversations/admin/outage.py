"""The times in which bots answered without the database."""

from __future__ import annotations

from django.contrib import admin
from django.utils.translation import gettext_lazy as _

from config.admin import DateRange, ReadOnlyAdmin, display
from conversations.models import Outage


@admin.register(Outage)
class OutageAdmin(ReadOnlyAdmin):
    """Read only: what was said then stands in the transcripts, with `journal` in its metadata."""

    icon = "power_off"
    empty_hint = _("No bot has had to answer without the database.")
    in_palette = False
    list_display = ("began_at", "ended_at", "shown_minutes", "channel", "account", "updates", "answers", "shown_lost")
    list_filter = (("ended_at", DateRange),)
    list_filter_submit = True
    ordering = ("-ended_at",)  # the index outages_latest
    sortable_by = ()

    @display(description=_("minutes"))
    def shown_minutes(self, outage: Outage) -> str:
        return f"{outage.minutes:.1f}"

    @display(description=_("not stored"))
    def shown_lost(self, outage: Outage) -> int:
        return outage.rejected + outage.damaged
