"""The outbox: what is on its way, what did not surely arrive, and what staff decide about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from config.admin import ChoicesDropdownFilter, DateRange, ReadOnlyAdmin, RecentValues, display
from config.text import plain
from conversations import undelivered
from conversations.admin import links
from conversations.errors import NothingToDecideError
from conversations.log import ConversationNotFoundError
from conversations.models import Delivery, DeliveryStatus

MOST_AT_ONCE = 500  # deliveries of one action; each takes a lock and a transaction
SHOWN_ERROR = 120  # characters of it in the list
COLOURS = {
    DeliveryStatus.PENDING.value: "info",
    DeliveryStatus.SENDING.value: "info",
    DeliveryStatus.SENT.value: "success",
    DeliveryStatus.UNKNOWN.value: "warning",
    DeliveryStatus.FAILED.value: "danger",
}
NEWEST = (F("created_at").desc(), F("id").desc())


class ByChannel(RecentValues):
    """Which way it goes."""

    title = _("channel")
    parameter_name = column = "channel"
    newest = NEWEST


class Undecided(admin.SimpleListFilter):
    """Only what waits for somebody of the staff."""

    title = _("needs a decision")
    parameter_name = "undecided"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, Any]]:
        return [("1", _("yes"))]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        if self.value() == "1":
            return queryset & Delivery.objects.troubled()
        return queryset


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """Newest first. Read only, but for what staff know and the machine does not."""

    in_palette = False
    icon = "outgoing_mail"
    empty_hint = _("Answers stand here on their way to people. Write to an agent in the playground to see one.")
    list_display = (
        "created_at", "shown_status", "talk", "where", "channel", "attempts", "shown_error", "resolved_by",
    )  # fmt: skip
    list_filter = (
        Undecided, ("status", ChoicesDropdownFilter), ByChannel, ("created_at", DateRange),
    )  # fmt: skip
    list_filter_submit = True
    ordering = ("-created_at", "-id")  # the index deliveries_latest
    sortable_by = ()
    list_per_page = 50
    actions = ("resend", "arrived", "give_up")
    change_form_outer_after_template = "conversations/delivery_actions.html"
    fieldsets = (
        (None, {"fields": ("talk", "where", "text", "channel", "status", "error")}),
        (_("Attempts"), {"fields": ("attempts", "next_attempt_at", "lease_until", "sent_at", "external_id")}),
        (_("Decision"), {"fields": ("resolved_at", "resolved_by")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        rows: QuerySet[Delivery] = super().get_queryset(request).select_related("message__conversation")
        if request.resolver_match and request.resolver_match.url_name == "conversations_delivery_changelist":
            rows = rows.defer("message__content")
        return rows.defer("message__metadata", "message__conversation__metadata")

    def has_handle_permission(self, request: HttpRequest, *_args: Any) -> bool:
        return request.user.has_perm("conversations.change_delivery")

    def change_view(self, request: HttpRequest, *args: Any, **options: Any) -> Any:
        """What can be decided here, as buttons."""
        delivery = Delivery.objects.filter(pk=_uuid(args[0] if args else options["object_id"])).first()
        possible = [
            name for name, (_sql, states) in undelivered.DECIDED.items() if delivery and delivery.status in states
        ]
        allowed = self.has_handle_permission(request)
        options["extra_context"] = {**(options.get("extra_context") or {}), "decisions": possible if allowed else []}
        return super().change_view(request, *args, **options)

    @admin.action(description=_("Send again (it may arrive twice)"), permissions=["handle"])
    def resend(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        done = self._decide(request, queryset, undelivered.resend)
        said = ngettext("%d part is being sent again.", "%d parts are being sent again.", done) % done
        self._tell(request, said, done)

    @admin.action(description=_("It arrived"), permissions=["handle"])
    def arrived(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        done = self._decide(request, queryset, undelivered.arrived)
        self._tell(request, ngettext("%d part counts as sent.", "%d parts count as sent.", done) % done, done)

    @admin.action(description=_("Give up"), permissions=["handle"])
    def give_up(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        done = self._decide(request, queryset, undelivered.give_up)
        self._tell(request, ngettext("%d part is given up.", "%d parts are given up.", done) % done, done)

    def _decide(self, request: HttpRequest, queryset: QuerySet[Delivery], deed: Callable[..., None]) -> int:
        by = request.user.get_username()
        ids = list(queryset.order_by("conversation_id", "message_index", "part").values_list("pk", flat=True))
        return sum(_done(deed, id_, by=by) for id_ in ids[:MOST_AT_ONCE])

    def _tell(self, request: HttpRequest, said: str, done: int) -> None:
        if done:
            messages.success(request, said)
        else:
            messages.warning(request, _("Nothing was decided: what arrived, or is under way, is left alone."))

    @display(description=_("status"), label=COLOURS)
    def shown_status(self, delivery: Delivery) -> tuple[str, str]:
        return delivery.status, delivery.get_status_display()

    @display(description=_("conversation"))
    def talk(self, delivery: Delivery) -> SafeString:
        return links.to_conversation(delivery.message.conversation)

    @display(description=_("message"))
    def where(self, delivery: Delivery) -> SafeString:
        url = links.message_url(delivery.message.conversation_id, delivery.message_index or 0)
        part = f" / {delivery.part + 1}" if delivery.part else ""
        return format_html('<a href="{}">#{}{}</a>', url, delivery.message_index, part)

    @display(description=_("reason"))
    def shown_error(self, delivery: Delivery) -> str:
        text = plain(delivery.error)
        return text if len(text) <= SHOWN_ERROR else f"{text[: SHOWN_ERROR - 1]}…"

    @display(description=_("text"))
    def text(self, delivery: Delivery) -> str:
        return plain(delivery.message.content[delivery.begins : delivery.ends])


def _done(deed: Callable[..., None], delivery_id: UUID, *, by: str) -> bool:
    try:
        deed(delivery_id, by=by)
    except (NothingToDecideError, ConversationNotFoundError):
        return False
    return True


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        return UUID(int=0)
