"""A transcript: messages as bubbles, the newest page first, paged by index, everything in it inert."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from django.db.models import QuerySet, Value
from django.db.models.functions import Left
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.functional import cached_property

from config.text import Piece, beginning, pieces, plain
from conversations.admin import desk, playground
from conversations.admin.burst import told
from conversations.models import Conversation, Delivery, Message, MessageBuffer, Mode, Role

if TYPE_CHECKING:
    from config.admin import ModelAdmin

PAGE = 50
CUT = 20_000  # characters of one message a page carries; the rest is behind a link
UNSEEN_AT_MOST = 1_000  # invisible characters of one message, or of its metadata, that are shown
FOLD = 1_200  # characters, or
FOLD_LINES = 20  # lines, above which a message is folded
FOLDED = 600  # characters, and
FOLDED_LINES = 8  # lines of it that stay in sight
BEYOND = 2**63 - 1


@dataclass(frozen=True)
class Bubble:
    """One message with what a reader needs to judge it."""

    message: Message
    start: str
    undelivered: list[Delivery] = field(default_factory=list)

    @property
    def side(self) -> str:
        return {Role.USER: "theirs", Role.ASSISTANT: "ours"}.get(Role(self.message.role), "aside")

    @property
    def speaker(self) -> str:
        """A reply that staff wrote is the assistant's by role and a colleague's by author."""
        return plain(self.message.author) or self.message.get_role_display()

    @property
    def cut(self) -> bool:
        return bool(self.message.character_count > len(self.start))

    @cached_property
    def folded(self) -> list[Piece]:
        """The beginning of a long message; nothing of a short one."""
        if len(self.start) <= FOLD and self.start.count("\n") < FOLD_LINES:
            return []
        return pieces("\n".join(self.start[:FOLDED].split("\n")[:FOLDED_LINES]) + " …")

    @cached_property
    def whole(self) -> list[Piece]:
        return pieces(self.start)

    @property
    def metadata(self) -> list[Piece]:
        if not self.message.metadata:
            return []
        return _metadata(self.message.metadata)


@dataclass(frozen=True)
class Window:
    """A page of the log, oldest first, and where its neighbours begin."""

    bubbles: list[Bubble]
    total: int
    wanted: int | None

    @property
    def older(self) -> int | None:
        first = self.bubbles[0].message.message_index if self.bubbles else 0
        return first if first > 0 else None

    @property
    def newer(self) -> int | None:
        last = self.bubbles[-1].message.message_index if self.bubbles else self.total
        return last if last < self.total - 1 else None

    @property
    def missing(self) -> int | None:
        """The message a link asked for and this conversation does not have."""
        if self.wanted is None or any(bubble.message.message_index == self.wanted for bubble in self.bubbles):
            return None
        return self.wanted


def show(model_admin: ModelAdmin, request: HttpRequest, conversation: Conversation) -> HttpResponse:
    """Render the page that the query asks for: `at` a message, `before` or `after` one, else the newest."""
    window = read(conversation, **{name: _index(request.GET.get(name)) for name in ("at", "before", "after")})
    conversation.title = plain(conversation.title)  # the theme writes it into the header; nothing here is saved
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": str(conversation),
        "subtitle": None,
        "original": conversation,
        "conversation": conversation,
        "metadata": _metadata(conversation.metadata),
        "window": window,
        "newest": window.newer is None and not any(name in request.GET for name in ("at", "before", "after")),
        "follows": window.newer is None and conversation.mode != Mode.CLOSED,
        "plays": window.newer is None
        and conversation.mode != Mode.CLOSED
        and playground.is_mine(request, conversation),
        "here": reverse("admin:conversations_conversation_change", args=[conversation.pk]),
        "last": conversation.message_count - 1,
        "list_url": reverse("admin:conversations_conversation_changelist"),
        "bursts": told(MessageBuffer.objects.filter(conversation=conversation)).order_by("interview_step"),
        "may_act": desk.may_act(request),
        "longest": desk.LONGEST,
        "reply_token": uuid4(),
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "conversations/transcript.html", context)


def read(
    conversation: Conversation, *, at: int | None = None, before: int | None = None, after: int | None = None
) -> Window:
    """One page by the unique index of the log: it costs the same wherever it is and however long the log."""
    rows: QuerySet[Any] = Message.objects.filter(conversation=conversation).order_by("-message_index")
    rows = rows.defer("content").annotate(start=Left("content", Value(CUT)))
    if at is not None:
        rows = rows.filter(message_index__lte=min(at + PAGE // 2, BEYOND))
    elif before is not None:
        rows = rows.filter(message_index__lt=before)
    elif after is not None:
        rows = rows.filter(message_index__gt=after).order_by("message_index")
    messages = sorted(rows[:PAGE], key=lambda message: message.message_index)
    on_their_way = _undelivered(messages)
    bubbles = [
        Bubble(message, beginning(message.start, UNSEEN_AT_MOST), on_their_way.get(message.pk, []))
        for message in messages
    ]
    return Window(bubbles, conversation.message_count, at)


def _metadata(metadata: dict[str, Any]) -> list[Piece]:
    text = json.dumps(metadata, ensure_ascii=False, indent=2)
    start = beginning(text, UNSEEN_AT_MOST)
    return pieces(start if start == text else f"{start} …")


def _undelivered(messages: list[Message]) -> dict[UUID, list[Delivery]]:
    """What of them is still on its way, or did not surely arrive."""
    found: dict[UUID, list[Delivery]] = {}
    said = [message.pk for message in messages if message.role == Role.ASSISTANT]
    for delivery in Delivery.objects.filter(message_id__in=said).exclude(status="sent").order_by("part"):
        found.setdefault(delivery.message_id, []).append(delivery)
    return found


def _index(given: str | None) -> int | None:
    """Whatever is no index asks for nothing."""
    if given and given.isascii() and given.isdigit() and len(given) <= 19:
        return min(int(given), BEYOND)
    return None
