"""Changes of the tables: what they would do, how the rehearsal went, and the yes of a person."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as now_gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from config.admin import ReadOnlyAdmin, display
from config.queue import defer
from config.text import pieces
from entities.mechanic import changes, words
from entities.mechanic.changes import PERMISSION, ChangeError
from entities.mechanic.documents import DocumentError
from entities.models import SchemaChange
from entities.models.schema_change import Origin, State

COLOURS = {
    "proposed": "info", "planned": "info", "rehearsed": "warning", "approved": "warning", "applying": "warning",
    "applied": "success", "failed": "danger",
}  # fmt: skip
EXAMPLE = """title = "Characters have a birthday"

[[add_column]]
table = "characters"
name = "birthday"
type = "date"
"""
VERBS = ("prepare", "approve", "reject", "resume", "revert", "show")
WORKING = {State.APPROVED, State.APPLYING}


@admin.register(SchemaChange)
class SchemaChangeAdmin(ReadOnlyAdmin):
    """The list is read only; a page of its own shows, asks and decides."""

    icon = "architecture"
    empty_hint = _("A small document asks for a table or a column, and you see what it would do: docs/mechanic.md.")
    list_display = ("title", "shown_state", "origin", "proposed_by", "approved_by", "created_at", "applied_at")
    list_filter = ("state", "origin")
    sortable_by = ()
    ordering = ("-id",)
    actions = None

    def get_urls(self) -> list[URLPattern]:
        views: dict[str, Callable[..., HttpResponse]] = {name: getattr(self, name) for name in VERBS}
        return [*self.urls_below("<uuid:change_id>", views), *super().get_urls()]

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.has_perm("entities.add_schemachange"))

    # --- asking ---
    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """A document, or plain words where a language model is set up."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        text = request.POST.get("document", "").replace("\r\n", "\n")
        problems: list[str] = []
        if request.method == "POST":
            try:
                asked = words.read(text) if "words" in request.POST else text
                return self._proposed(request, asked)
            except DocumentError as error:
                problems = error.problems
        context = {
            **self.admin_site.each_context(request),
            "title": _("Ask for a change of the tables"),
            "opts": self.opts,
            "text": text or EXAMPLE,
            "problems": problems,
        }
        return TemplateResponse(request, "entities/schema_change_new.html", context, status=400 if problems else 200)

    def _proposed(self, request: HttpRequest, asked: str | dict[str, Any]) -> HttpResponse:
        by = request.user.get_username()
        with transaction.atomic():
            change = changes.propose(asked, by=by, origin=Origin.FORM)
            defer("mechanic.prepare", str(change.pk), by)
        return redirect(_here(change.pk))

    # --- deciding ---
    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET", "HEAD"])
        change = self._change(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "title": change.title,
            "opts": self.opts,
            "change": change,
            "colour": COLOURS.get(change.state, "info"),
            "lines": [(_kind(line), pieces(line)) for line in change.diff.splitlines()],
            "document": json.dumps(change.document, ensure_ascii=False, indent=2),
            "seen": change.updated_at.isoformat(),
            "may_approve": request.user.has_perm(PERMISSION),
            "working": change.state in WORKING or (change.state == State.PROPOSED and change.origin != Origin.AGENT),
            "resumable": change.state == State.FAILED and bool(change.approved_by),
            "replannable": change.state in changes.PLANNABLE and not change.approved_by,
            **{f"{name}_url": reverse(f"admin:entities_schemachange_{name}", args=[change.pk]) for name in VERBS},
        }
        return TemplateResponse(request, "entities/schema_change.html", context)

    @method_decorator(require_POST)
    def prepare(self, request: HttpRequest, change_id: UUID) -> HttpResponse:
        change = self._decidable(request, change_id)
        defer("mechanic.prepare", str(change.pk), request.user.get_username())
        self.message_user(request, now_gettext("It is planned and rehearsed; this takes some seconds."))
        return redirect(_here(change_id))

    @method_decorator(require_POST)
    def approve(self, request: HttpRequest, change_id: UUID) -> HttpResponse:
        """Yes, to what was shown: the digest of the files travels with the form."""
        change = self._decidable(request, change_id)

        def say_yes() -> None:
            with transaction.atomic():
                if request.POST.get("seen") != change.updated_at.isoformat():
                    raise ChangeError(now_gettext("It changed since you looked. Look again."))
                changes.approve(change, user=request.user)
                defer("mechanic.apply", str(change.pk), request.user.get_username())

        return self._do(request, change, say_yes, now_gettext("Approved: it is being applied."))

    @method_decorator(require_POST)
    def resume(self, request: HttpRequest, change_id: UUID) -> HttpResponse:
        change = self._decidable(request, change_id)
        by = request.user.get_username()
        return self._do(
            request, change, lambda: defer("mechanic.apply", str(change.pk), by), now_gettext("It goes on.")
        )

    @method_decorator(require_POST)
    def reject(self, request: HttpRequest, change_id: UUID) -> HttpResponse:
        return self._verb(request, change_id, changes.reject, now_gettext("Rejected."))

    @method_decorator(require_POST)
    def revert(self, request: HttpRequest, change_id: UUID) -> HttpResponse:
        return self._verb(request, change_id, changes.revert, now_gettext("It is hidden. Nothing was dropped."))

    @method_decorator(require_POST)
    def show(self, request: HttpRequest, change_id: UUID) -> HttpResponse:
        return self._verb(request, change_id, changes.show, now_gettext("It is shown again."))

    def _verb(self, request: HttpRequest, change_id: UUID, verb: Callable[..., Any], told: str) -> HttpResponse:
        change = self._decidable(request, change_id)
        return self._do(request, change, lambda: verb(change, by=request.user.get_username()), told)

    def _do(self, request: HttpRequest, change: SchemaChange, deed: Callable[[], Any], told: str) -> HttpResponse:
        try:
            deed()
            self.message_user(request, told, messages.SUCCESS)
        except ChangeError as error:
            self.message_user(request, str(error), messages.ERROR)
        return redirect(_here(change.pk))

    def _decidable(self, request: HttpRequest, change_id: UUID) -> SchemaChange:
        if not request.user.has_perm(PERMISSION):
            raise PermissionDenied
        return self._change(request, str(change_id))

    def _change(self, request: HttpRequest, wanted: str) -> SchemaChange:
        try:
            change = SchemaChange.objects.filter(pk=UUID(wanted)).first()
        except ValueError:
            change = None
        if not self.has_view_permission(request, change):
            raise PermissionDenied
        if change is None:
            raise Http404
        return change

    def has_view_permission(self, request: HttpRequest, obj: SchemaChange | None = None) -> bool:
        return bool(super().has_view_permission(request, obj) or request.user.has_perm(PERMISSION))

    @display(description=_("state"), label=COLOURS)
    def shown_state(self, change: SchemaChange) -> tuple[str, str]:
        return change.state, str(State(change.state).label)


def _kind(line: str) -> str:
    if line.startswith(("+++", "---")):
        return "file"
    return {"+": "new", "-": "old", "@": "place"}.get(line[:1], "")


def _here(pk: object) -> str:
    return reverse("admin:entities_schemachange_change", args=[pk])
