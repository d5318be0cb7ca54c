"""Backups as staff see them: when, how large, and whether one was ever restored."""

from __future__ import annotations

from django.contrib import admin
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext_lazy as _

from config.admin import ReadOnlyAdmin, display
from entities.models import Backup

REASONS = {  # what the code names; anything else was given to the command
    "by-hand": _("by hand"),
    "daily": _("daily"),
    "rehearsal": _("for a rehearsal"),
    "mechanic": _("before a schema change"),
    "migrate": _("before a migration"),
}


@admin.register(Backup)
class BackupAdmin(ReadOnlyAdmin):
    """The files are the operators' business: docs/backups.md."""

    icon = "save"
    empty_hint = _("The worker takes one a day by itself; manage.py backup takes one now: docs/backups.md.")
    list_display = ("name", "shown_reason", "shown_size", "rows", "made_by", "host", "created_at", "shown_state")
    sortable_by = ()
    ordering = ("-created_at",)

    @display(description=_("reason"))
    def shown_reason(self, backup: Backup) -> str:
        return str(REASONS.get(backup.reason, backup.reason))

    @display(description=_("size"))
    def shown_size(self, backup: Backup) -> str:
        return str(filesizeformat(backup.size))

    @display(description=_("state"), label={"kept": "info", "verified": "success"})
    def shown_state(self, backup: Backup) -> tuple[str, str]:
        if backup.removed_at:
            return "removed", str(_("removed by the policy"))
        return ("verified", str(_("restored and verified"))) if backup.verified_at else ("kept", str(_("kept")))
