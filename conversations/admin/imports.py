"""Imports: what each brought, what it could not store, and the way back."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Count, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as now_gettext
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_POST

from config.admin import ChoicesDropdownFilter, ReadOnlyAdmin, RecentValues, display
from config.queue import defer
from config.text import pieces, plain
from conversations.legacy import batches, retrying, undoing
from conversations.legacy.report import Report
from conversations.models import ImportBatch, ImportReject, ImportStatus, RejectState, ShareState

COLOURS = {
    "running": "info", "failed": "danger", "done": "success", "differs": "danger", "undoing": "warning", "undone": "",
}  # fmt: skip
DIFFERING = 20  # conversations that are named
NEWEST = 10  # of its conversations are linked


@admin.register(ImportBatch)
class ImportBatchAdmin(ReadOnlyAdmin):
    """The command imports; here is what came of it. Undoing takes the permission to delete imports."""

    icon = "move_to_inbox"
    empty_hint = _("manage.py import_conversations FILE brings conversations in from another system: docs/import.md.")
    in_palette = False
    list_display = ("created_at", "shown_origin", "kind", "shown_status", "brought", "known", "rejected", "updated_at")
    list_display_links = ("created_at", "shown_origin")
    list_filter = (("status", ChoicesDropdownFilter),)
    list_filter_submit = True
    ordering = ("-created_at",)
    sortable_by = ()
    list_per_page = 50
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[ImportBatch]:
        return super().get_queryset(request).defer("report", "position")  # type: ignore[no-any-return]

    def get_urls(self) -> list[URLPattern]:
        verbs = {"undo": self.undo, "retry": self.retry}
        return [*self.urls_below("<uuid:batch_id>", verbs), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """The report, the rejects by reason, and what can be done about them."""
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET", "HEAD"])
        batch = self.get_object(request, object_id)
        if not self.has_view_permission(request, batch):
            raise PermissionDenied
        if batch is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[no-any-return]
        return self._page(request, batch)

    def _page(self, request: HttpRequest, batch: ImportBatch, *, asks: bool = False, blocked: int = 0) -> HttpResponse:
        report = Report.of(batch.report) if batch.report else Report()
        shares = batch.shares.values("state").annotate(number=Count("pk")).order_by("state")
        rejects = batch.rejects.filter(state=RejectState.OPEN).values("reason").annotate(number=Count("pk"))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": plain(str(batch)),
            "batch": batch,
            "lines": list(report.lines()),
            "troubles": [(what, often, [pieces(text) for text in some]) for what, often, some in report.troubles()],
            "shares": [(ShareState(share["state"]).label, share["number"]) for share in shares],
            "differing": batch.shares.filter(state=ShareState.DIFFERS).values_list("conversation", flat=True)[
                :DIFFERING
            ],
            "rejects": sum(reason["number"] for reason in rejects),
            "rejects_url": f"{reverse('admin:conversations_importreject_changelist')}?batch__id__exact={batch.pk}",
            "may_undo": self.may_undo(request) and batch.status != ImportStatus.UNDONE,
            "may_retry": may_retry(request),
            "asks": asks,
            "blocked": blocked,
            "conversations": undoing.left(batch.pk),
            "newest": self._newest(request, batch),
        }
        return TemplateResponse(request, "conversations/import.html", context)

    def _newest(self, request: HttpRequest, batch: ImportBatch) -> list[tuple[UUID, str]]:
        """Some of the conversations it brought something to, for those who may read them."""
        if not request.user.has_perm("conversations.view_conversation"):
            return []
        shares = batch.shares.filter(conversation__isnull=False).exclude(state=ShareState.UNDONE)
        found = shares.order_by("-id").values_list("conversation_id", "conversation__title")[:NEWEST]
        return [(id_, plain(title) or str(id_)) for id_, title in found]

    @method_decorator(require_POST)
    def undo(self, request: HttpRequest, batch_id: UUID) -> HttpResponse:
        """Asks first, and says where people have written since; the worker does it."""
        if not self.may_undo(request):
            raise PermissionDenied
        batch, by = self._found(batch_id), request.user.get_username()
        confirmed, force = request.POST.get("confirmed") == "yes", request.POST.get("force") == "yes"
        if batch.status == ImportStatus.UNDONE:
            return redirect("admin:conversations_importbatch_change", batch.pk)
        blocked, _some = undoing.continued(batch.pk)
        if not confirmed or (blocked and not force):
            return self._page(request, batch, asks=True, blocked=blocked)
        with transaction.atomic():
            undoing.begin(batch.pk, by=by, force=force)
            defer("imports.undo", str(batch.pk), by, force, key=["undo", str(batch.pk)])
        messages.success(request, _("The undo has been handed to the worker; this page shows how far it is."))
        return redirect("admin:conversations_importbatch_change", batch.pk)

    @method_decorator(require_POST)
    def retry(self, request: HttpRequest, batch_id: UUID) -> HttpResponse:
        if not may_retry(request):
            raise PermissionDenied
        batch = self._found(batch_id)
        defer("imports.retry", str(batch.pk), request.user.get_username(), key=["retry", str(batch.pk)])
        messages.success(request, _("The worker tries the rejects again; those that stay are still listed."))
        return redirect("admin:conversations_importbatch_change", batch.pk)

    def may_undo(self, request: HttpRequest) -> bool:
        return request.user.has_perm("conversations.delete_importbatch")

    def _found(self, batch_id: UUID) -> ImportBatch:
        found = ImportBatch.objects.filter(pk=batch_id).first()
        if found is None:
            raise Http404
        return found

    @display(description=_("read from"))
    def shown_origin(self, batch: ImportBatch) -> str:
        return plain(batch.origin)

    @display(description=_("status"), label=COLOURS)
    def shown_status(self, batch: ImportBatch) -> tuple[str, str]:
        return batch.status, str(ImportStatus(batch.status).label)


class ByImport(RecentValues):
    """Of which import."""

    title = _("import")
    parameter_name = "batch__id__exact"
    column = "batch_id"
    newest = ("-id",)


@admin.register(ImportReject)
class ImportRejectAdmin(ReadOnlyAdmin):
    """What was read and not stored, with the reason; storing it after all takes the permission to change rejects."""

    icon = "report"
    empty_hint = _("What an import could not store waits here, each with its reason.")
    in_palette = False
    list_display = ("created_at", "shown_reason", "place", "shown_detail", "shown_state")
    list_filter = (ByImport, ("reason", ChoicesDropdownFilter), ("state", ChoicesDropdownFilter))
    list_filter_submit = True
    ordering = ("-id",)
    sortable_by = ()
    list_per_page = 50
    actions = ("store", "dismiss")
    fields = readonly_fields = (
        "batch", "created_at", "shown_reason", "place", "shown_detail", "shown_state", "shown_payload", "whole",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet[ImportReject]:
        return super().get_queryset(request).select_related("batch")  # type: ignore[no-any-return]

    def has_handle_permission(self, request: HttpRequest, *_args: Any) -> bool:
        return may_retry(request)

    @admin.action(description=_("Try to store again"), permissions=["handle"])
    def store(self, request: HttpRequest, queryset: QuerySet[ImportReject]) -> None:
        """Each import by its own rules; what was a duplicate or had changed is stored beside what is there."""
        chosen: dict[UUID, list[UUID]] = {}
        for batch_id, id_ in queryset.values_list("batch_id", "pk"):
            chosen.setdefault(batch_id, []).append(id_)
        stored = 0
        for batch_id, ids in chosen.items():
            rules = batches.rules_of(batches.get(batch_id))
            stored += retrying.retry(batch_id, rules, by=request.user.get_username(), only=ids)[0]
        said = ngettext("%d message was stored.", "%d messages were stored.", stored) % stored
        left = sum(map(len, chosen.values())) - stored
        if left:
            said += " " + ngettext("%d stays rejected.", "%d stay rejected.", left) % left
        messages.add_message(request, messages.SUCCESS if stored else messages.WARNING, said)

    @admin.action(description=_("Dismiss"), permissions=["handle"])
    def dismiss(self, request: HttpRequest, queryset: QuerySet[ImportReject]) -> None:
        ids = list(queryset.values_list("pk", flat=True))
        number = retrying.dismiss(ids, by=request.user.get_username())
        messages.success(request, now_gettext("Dismissed: %d.") % number)

    @display(description=_("reason"))
    def shown_reason(self, reject: ImportReject) -> str:
        return reject.get_reason_display()

    @display(description=_("detail"))
    def shown_detail(self, reject: ImportReject) -> str:
        return plain(reject.detail)

    @display(description=_("state"), label={"open": "warning", "stored": "success", "dismissed": ""})
    def shown_state(self, reject: ImportReject) -> tuple[str, str]:
        return reject.state, str(RejectState(reject.state).label)

    @display(description=_("what was read"))
    def shown_payload(self, reject: ImportReject) -> str:
        return plain(reject.payload[:20_000])


def may_retry(request: HttpRequest) -> bool:
    return request.user.has_perm("conversations.change_importreject")
