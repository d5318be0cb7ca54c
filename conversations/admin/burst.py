"""Open bursts: who is being listened to, for how much longer, and what staff may do about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.utils import unquote
from django.db import transaction
from django.db.models import F, FloatField, Func, IntegerField, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.safestring import SafeString
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from config.admin import ReadOnlyAdmin, display
from config.columns import clock
from config.text import plain
from conversations import buffering
from conversations.admin import links
from conversations.log import ConversationNotFoundError
from conversations.models import MessageBuffer

MOST_AT_ONCE = 500  # bursts of one action; each takes a lock and a transaction


def told(bursts: QuerySet[MessageBuffer]) -> QuerySet[MessageBuffer]:
    """With what pages tell: how many messages, and how many seconds are left by the database's clock."""
    left = Func(F("flush_at") - clock(), template="extract(epoch FROM %(expressions)s)", output_field=FloatField())
    size = Func("messages", function="jsonb_array_length", output_field=IntegerField())
    return bursts.annotate(seconds_left=left, size=size).defer("messages")


@admin.register(MessageBuffer)
class OpenBurstAdmin(ReadOnlyAdmin):
    """Soonest first. The page of a burst is its conversation, which shows it."""

    in_palette = False
    icon = "hourglass_top"
    empty_hint = _("A burst is here only while it is open: from the first message until the person is quiet.")
    list_display = (
        "talk", "interview_step", "shown_size", "shown_left", "flush_at", "deadline", "extended_by_typing"
    )  # fmt: skip
    list_display_links = None
    ordering = ("flush_at", "id")  # the index message_buffers_due
    sortable_by = ()
    list_per_page = 50
    actions = ("answer_now", "discard")

    def get_queryset(self, request: HttpRequest) -> QuerySet[MessageBuffer]:
        return told(super().get_queryset(request)).select_related("conversation").defer("conversation__metadata")

    def has_handle_permission(self, request: HttpRequest, *_args: Any) -> bool:
        return request.user.has_perm("conversations.change_messagebuffer")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        burst = self.get_object(request, unquote(object_id))
        if burst is None or not self.has_view_permission(request, burst):
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[no-any-return]
        return redirect(links.conversation_url(burst.conversation_id))

    @admin.action(description=_("Answer now"), permissions=["handle"])
    def answer_now(self, request: HttpRequest, queryset: QuerySet[MessageBuffer]) -> HttpResponse | None:
        by = request.user.get_username()
        sealed = _each(queryset, lambda b: buffering.flush_now(b.conversation_id, b.interview_step, by=by) is not None)
        said = ngettext("%d burst is being answered.", "%d bursts are being answered.", sealed) % sealed
        self._tell(request, said, sealed)
        return links.back(request)

    @admin.action(description=_("Discard"), permissions=["handle"])
    def discard(self, request: HttpRequest, queryset: QuerySet[MessageBuffer]) -> HttpResponse | None:
        if "confirmed" not in request.POST:
            return self._confirm(request, queryset)
        by = request.user.get_username()
        gone = _each(queryset, lambda b: buffering.clear_buffer(b.conversation_id, b.interview_step, by=by) > 0)
        self._tell(request, ngettext("%d burst was discarded.", "%d bursts were discarded.", gone) % gone, gone)
        return None

    def _confirm(self, request: HttpRequest, queryset: QuerySet[MessageBuffer]) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": _("Discard without an answer?"),
            "bursts": queryset.order_by(*self.ordering)[:MOST_AT_ONCE],
            "checkbox": ACTION_CHECKBOX_NAME,
        }
        return TemplateResponse(request, "conversations/discard_bursts.html", context)

    def _tell(self, request: HttpRequest, said: str, number: int) -> None:
        """Where nothing was done the burst had ended in the meantime, which is nobody's mistake."""
        if number:
            messages.success(request, said)
        else:
            messages.warning(request, _("Nothing was left to do: the burst had ended already."))

    @display(description=_("conversation"))
    def talk(self, burst: MessageBuffer) -> SafeString:
        return links.to_conversation(burst.conversation)

    @display(description=_("messages"))
    def shown_size(self, burst: Any) -> int:
        return int(burst.size)

    @display(description=_("seconds left"))
    def shown_left(self, burst: Any) -> str:
        return plain(f"{max(0.0, burst.seconds_left):.1f}")


def _each(bursts: QuerySet[MessageBuffer], deed: Callable[[MessageBuffer], bool]) -> int:
    """Do it to each, in a transaction of its own, if it is still the burst that staff saw and not the next one."""
    done = 0
    for burst in bursts[:MOST_AT_ONCE]:
        try:
            with transaction.atomic():
                buffering.lock(burst.conversation_id)
                done += MessageBuffer.objects.filter(pk=burst.pk).exists() and deed(burst)
        except ConversationNotFoundError:
            continue  # erased meanwhile, with its burst
    return done
