"""The record of deeds: searched, filtered, exported, never changed."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import URLPattern, path
from django.utils.translation import gettext_lazy as _

from agents import audit, export
from agents.models import AuditEntry, AuditLink, Status
from config.admin import ChoicesDropdownFilter, DateRange, ReadOnlyAdmin, RecentValues, display
from config.text import plain

NEWEST = ("-id",)
FORMERLY = {"tool.refused": "tool.refuse", "tool.approved": "tool.approve", "tool.denied": "tool.deny"}
COLOURS = {"success": "success", "started": "info", "failure": "danger", "refused": "warning"}


class ByAction(RecentValues):
    """What is on record under a name of before is found by the name of now."""

    title = _("action")
    parameter_name = column = "action"
    newest = NEWEST

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        found = {FORMERLY.get(value, value) for value, _label in super().lookups(request, model_admin)}
        return [(value, self.label(value)) for value in sorted(found)]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[AuditEntry]) -> QuerySet[AuditEntry]:
        if not (wanted := self.value()):
            return queryset
        wanted = FORMERLY.get(wanted, wanted)
        return queryset.filter(action__in=[wanted, *(old for old, new in FORMERLY.items() if new == wanted)])


class ByActor(RecentValues):
    title = _("actor")
    parameter_name = column = "actor"
    newest = NEWEST


class BySubject(RecentValues):
    title = _("kind of subject")
    parameter_name = column = "subject_type"
    newest = NEWEST


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin):
    """Whoever may see the list may export what it shows."""

    icon = "history"
    in_palette = False  # a word would be asked four times, at every pause in typing
    list_display = ("created_at", "action", "shown_actor", "shown_subject", "shown_status", "summary")
    list_display_links = ("created_at", "action")
    list_filter = (ByAction, ByActor, BySubject, ("status", ChoicesDropdownFilter), ("created_at", DateRange))
    list_filter_submit = True
    search_fields = ("subject_id",)  # and the actor: get_search_results
    search_help_text = _("Subject, actor or request, as a whole")
    ordering = NEWEST
    sortable_by = ()
    list_per_page = 50
    actions = None
    list_before_template = "agents/audit_export.html"
    fields = (
        "created_at", "action", "shown_status", "shown_actor", "shown_subject", "shown_details", "git_commit",
        "git_branch", "request_id", "shown_link",
    )  # fmt: skip
    readonly_fields = fields

    def get_urls(self) -> list[URLPattern]:
        exports = self.admin_site.admin_view(self.export)
        return [path("export/<slug:file_format>/", exports, name="agents_auditentry_export"), *super().get_urls()]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[AuditEntry], search_term: str
    ) -> tuple[QuerySet[AuditEntry], bool]:
        """Exact values alone, each by its index: a substring would read the whole record."""
        text = search_term.strip().replace("\0", "")
        if not text:
            return queryset, False
        for column in ("subject_id", "actor", "on_behalf_of", "request_id"):
            found = queryset.filter(**{column: text})
            if found.exists():
                return found, False
        return queryset.none(), False

    def export(self, request: HttpRequest, file_format: str) -> StreamingHttpResponse:
        """What the filters leave, the oldest first, row by row."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        chosen = file_format if file_format in export.FORMATS else "csv"
        rows = self.get_changelist_instance(request).get_queryset(request).order_by("id")
        filters = sorted(request.GET)
        audit.record("audit.export", request.user.get_username(), None, {"format": chosen, "filters": filters})
        kinds = {"csv": "text/csv", "jsonl": "application/x-ndjson"}
        response = StreamingHttpResponse(export.lines(rows, chosen), content_type=f"{kinds[chosen]}; charset=utf-8")
        response["Content-Disposition"] = f'attachment; filename="audit.{chosen}"'
        return response

    @display(description=_("actor"))
    def shown_actor(self, entry: AuditEntry) -> str:
        return plain(entry.who)

    @display(description=_("subject"))
    def shown_subject(self, entry: AuditEntry) -> str:
        return plain(f"{entry.subject_type} {entry.subject_id}".strip())

    @display(description=_("status"), label=COLOURS)
    def shown_status(self, entry: AuditEntry) -> tuple[str, str]:
        return entry.status, str(Status(entry.status).label)

    @display(description=_("details"))
    def summary(self, entry: AuditEntry) -> str:
        text = ", ".join(f"{key}: {_shown(value)}" for key, value in entry.details.items())
        return plain(text if len(text) <= 100 else f"{text[:99]}…")

    @display(description=_("details"))
    def shown_details(self, entry: AuditEntry) -> str:
        return plain(json.dumps(entry.details, ensure_ascii=False, indent=2))

    @display(description=_("link of the chain"))
    def shown_link(self, entry: AuditEntry) -> str:
        link: Any = AuditLink.objects.filter(entry_id=entry.pk).first()
        return f"{link.seq}: {link.hash}" if link else "–"


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
