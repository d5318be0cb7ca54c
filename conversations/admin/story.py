"""A turn's story: why it waited, what it saw, what it said and what that cost, in the order in which it happened."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from config.text import Piece, beginning, pieces, plain
from conversations.admin import links
from conversations.admin.transcript import UNSEEN_AT_MOST
from conversations.models import Delivery, Message, MessageFate, Role, Trigger, Turn, TurnStatus

if TYPE_CHECKING:
    from config.admin import ModelAdmin

CUT = 20_000  # characters of one text a page carries; the whole is in the transcript or in the record
MOST_PROMPTS = 200
WHY: dict[str, str | Promise] = {
    Trigger.DEBOUNCE.value: _("The person had been quiet long enough."),
    Trigger.OVERFLOW.value: _("The burst had become too large to wait any longer."),
    Trigger.MAX_WAIT.value: _("The person was still writing, but had waited long enough for an answer."),
    Trigger.IMMEDIATE.value: _("Buffering is off: every message is answered at once."),
    Trigger.STAFF.value: _("Staff decided to answer at once."),
}
ENDED: dict[str, str | Promise] = {
    TurnStatus.DONE.value: _("Answered"),
    TurnStatus.SUPERSEDED.value: _("Not sent: the person wrote on, and a later turn answers everything"),
    TurnStatus.WITHDRAWN.value: _("Withdrawn: not answered by the agent"),
    TurnStatus.FAILED.value: _("Failed: no further attempt is made"),
}


@dataclass(frozen=True)
class Link:
    """Where to read on."""

    says: str | Promise
    url: str


@dataclass(frozen=True)
class Event:
    """One thing that happened: when, what, and the words of others that belong to it."""

    at: datetime
    kind: str
    title: str | Promise
    notes: list[str | Promise] = field(default_factory=list)
    said: list[Piece] = field(default_factory=list)
    before: list[Piece] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)


@dataclass(frozen=True)
class Shown:
    """A text of the prompt or of a tool with who or what it belongs to."""

    who: str
    text: list[Piece]


def lateness(turn: Turn) -> float | None:
    """Seconds from the end of the waiting to the start of the run."""
    return None if turn.started_at is None else (turn.started_at - turn.due_at).total_seconds()


def show(model_admin: ModelAdmin, request: HttpRequest, turn: Turn) -> HttpResponse:
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": _("The story of a turn"),
        "subtitle": None,
        "original": turn,
        "turn": turn,
        "story": Story(turn),
        "may_retry": turn.status == TurnStatus.FAILED and request.user.has_perm("conversations.change_turn"),
    }
    request.current_app = model_admin.admin_site.name
    return TemplateResponse(request, "conversations/turn.html", context)


@dataclass(frozen=True)
class Story:
    """Read once: the messages, fates and deliveries that belong to the turn, and the drafts before it."""

    turn: Turn

    @cached_property
    def events(self) -> list[Event]:
        """In the order of time; what happened at the same moment stays in the order of the steps."""
        found = [*self._messages(), *self._drafts(), *self._sealing(), *self._running(), *self._ending()]
        return sorted(found, key=lambda event: event.at)

    @cached_property
    def talk(self) -> str:
        return plain(str(self.turn.conversation))

    @property
    def talk_url(self) -> str:
        return links.conversation_url(self.turn.conversation_id)

    @property
    def size(self) -> int:
        return len(self.turn.input)

    @property
    def waited(self) -> str:
        return links.seconds(self.turn.waited_ms)

    @property
    def late(self) -> str:
        late = lateness(self.turn)
        return "–" if late is None else f"{late:.2f}"

    @property
    def model(self) -> str:
        return plain(str(self._trace.get("model", "")))

    @cached_property
    def spent(self) -> tuple[int, int]:
        """Tokens with those of the drafts that were not sent."""
        every = [self.turn, *self.stale]
        return sum(one.input_tokens for one in every), sum(one.output_tokens for one in every)

    @cached_property
    def prompt(self) -> list[Shown]:
        """What the agent saw, message by message; in whatever shape it was kept."""
        kept = self._trace.get("prompt") or []
        if not isinstance(kept, list):
            return [Shown("", _cut(_as_text(kept)))]
        return [_spoken(one) for one in kept[-MOST_PROMPTS:]]

    @property
    def prompt_is_cut(self) -> bool:
        kept = self._trace.get("prompt")
        return isinstance(kept, list) and len(kept) > MOST_PROMPTS

    @property
    def prompt_notes(self) -> list[str | Promise]:
        """What the model was not given."""
        notes: list[str | Promise] = []
        if isinstance(count := self._trace.get("history_left_out"), int) and count:
            notes.append(
                ngettext(
                    "%d older message was left out: there was no room for it in the budget or the model's context.",
                    "%d older messages were left out: there was no room for them in the budget or the model's context.",
                    count,
                )
                % count
            )
        if self._trace.get("without_tools"):
            notes.append(_("The model's server refuses tools: the model was offered none."))
        return notes

    @property
    def is_estimated(self) -> bool:
        """Whether the tokens are an estimate, because the model's server did not count them."""
        return bool(self._trace.get("usage_estimated"))

    @cached_property
    def steps(self) -> list[Shown]:
        """What the agent said to itself and to its tools on the way."""
        kept = self._trace.get("steps")
        return [_spoken(one) for one in kept[:MOST_PROMPTS]] if isinstance(kept, list) else []

    @cached_property
    def tools(self) -> list[Shown]:
        calls = self._trace.get("tool_calls") or []
        calls = calls if isinstance(calls, list) else [calls]
        return [_called(one) for one in calls[:MOST_PROMPTS]]

    @cached_property
    def fates(self) -> list[tuple[str, str, MessageFate]]:
        """What became of each message: its number, where it stands, its fate."""
        numbered = [(row["message_index"], self._fates.get(row["message_id"])) for row in self.turn.input]
        at = self.turn.conversation_id
        return [(f"#{index}", links.message_url(at, index), fate) for index, fate in numbered if fate]

    @cached_property
    def deliveries(self) -> list[Delivery]:
        if self.turn.reply_id is None:
            return []
        return list(Delivery.objects.filter(message_id=self.turn.reply_id).order_by("part"))

    @cached_property
    def stale(self) -> list[Turn]:
        """The turns this one answers for, each by its draft. Looked for only where there are any."""
        found: list[Turn] = []
        wanted = [self.turn.pk] if self.turn.redrafts else []
        while wanted and len(found) < 10:
            rows = Turn.objects.filter(conversation_id=self.turn.conversation_id, superseded_by__in=wanted)
            wanted = [row.pk for row in rows]
            found += rows
        return sorted(found, key=lambda row: row.pk)

    # --- what happened, step by step ---
    def _messages(self) -> Iterator[Event]:
        for row in self.turn.input:
            index, edits = row["message_index"], row.get("edits", [])
            notes: list[str | Promise] = []
            first = self._stored.get(row["message_id"])
            if edits:
                notes.append(ngettext("Corrected %d time.", "Corrected %d times.", len(edits)) % len(edits))
            if row.get("question_context"):
                notes.append(_("In answer to: %s") % plain(str(row["question_context"])[:500]))
            if first and first.deleted_at:
                notes.append(_("Deleted since."))
            yield Event(
                _moment(row.get("at"), self.turn.created_at),
                "message",
                _("Message #%d") % index,
                notes,
                _cut(row["content"]),
                _cut(first.content) if first and edits else [],
                [Link(_("in the transcript"), links.message_url(self.turn.conversation_id, index))],
            )

    def _drafts(self) -> Iterator[Event]:
        for one in self.stale:
            yield Event(
                one.finished_at or one.created_at,
                "draft",
                _("A draft was not sent, because the person wrote on"),
                [
                    _("It cost %(input)d + %(output)d tokens.")
                    % {"input": one.input_tokens, "output": one.output_tokens}
                ],
                _cut(one.draft),
                links=[Link(_("its own story"), links.turn_url(one.pk))],
            )

    def _sealing(self) -> Iterator[Event]:
        turn = self.turn
        notes = [WHY[turn.trigger]]
        if turn.trigger != Trigger.IMMEDIATE:
            notes.append(_("It was open for %s s.") % self.waited)
        if times := turn.extended_by_typing:
            notes.append(
                ngettext("%d sign of typing made it wait longer.", "%d signs of typing made it wait longer.", times)
                % times
            )
        yield Event(turn.created_at, "sealed", _("The burst was closed"), notes)

    def _running(self) -> Iterator[Event]:
        turn = self.turn
        if turn.started_at is not None:
            late = _("Due %(due)s, begun %(late)s s later.") % {"due": _clock(turn.due_at), "late": self.late}
            yield Event(turn.started_at, "started", _("The agent began"), [late])
        if turn.status not in {TurnStatus.WAITING, TurnStatus.RUNNING}:
            return
        now = turn.updated_at
        if turn.status == TurnStatus.WAITING:
            notes: list[str | Promise] = [_("Next attempt at %s.") % _clock(turn.next_attempt_at)]
            yield Event(max(now, turn.created_at), "waiting", _("Waits for a worker"), notes, _cut(turn.error))
        else:
            notes = [_("Attempt %d.") % turn.attempts]
            if turn.lease_until:
                notes.append(_("Its lease runs out at %s.") % _clock(turn.lease_until))
            yield Event(max(now, turn.created_at), "running", _("The agent is at work"), notes)

    def _ending(self) -> Iterator[Event]:
        turn = self.turn
        if turn.status not in ENDED:
            return
        notes: list[str | Promise] = []
        if turn.attempts > 1:
            notes.append(ngettext("After %d attempt.", "After %d attempts.", turn.attempts) % turn.attempts)
        if self._trace.get("answer") == "cut":
            notes.append(_("The model reached its limit of length: the answer is not whole."))
        if reason := self._trace.get("reason"):
            notes.append(_("Reason: %s") % plain(str(reason)[:500]))
        reply = self._stored.get(str(turn.reply_id))
        found = (
            [Link(_("in the transcript"), links.message_url(turn.conversation_id, reply.message_index))]
            if reply
            else []
        )
        if turn.superseded_by:
            found.append(Link(_("the turn that answered"), links.turn_url(turn.superseded_by)))
        at = turn.finished_at or turn.updated_at
        said = reply.content if reply else turn.draft
        yield Event(at, turn.status, ENDED[turn.status], notes, _cut(said), _cut(turn.error), found)

    @property
    def _trace(self) -> Mapping[str, Any]:
        return self.turn.trace if isinstance(self.turn.trace, dict) else {}

    @cached_property
    def _stored(self) -> dict[str, Message]:
        ids = [UUID(row["message_id"]) for row in self.turn.input]
        rows = Message.objects.filter(Q(pk__in=[*ids, *filter(None, [self.turn.reply_id])]))
        return {str(row.pk): row for row in rows}

    @cached_property
    def _fates(self) -> dict[str, MessageFate]:
        ids = [row["message_id"] for row in self.turn.input]
        return {str(fate.message_id): fate for fate in MessageFate.objects.filter(message_id__in=ids)}


def _spoken(one: Any) -> Shown:
    """`{role, content}` where it is that; else as it is."""
    if isinstance(one, dict) and isinstance(one.get("content"), str):
        role = str(one.get("role", ""))
        beside = {key: one[key] for key in one if key not in {"role", "content"}}
        text = f"{one['content']}\n{_as_text(beside)}".lstrip("\n") if beside else one["content"]
        return Shown(str(Role(role).label) if role in Role.values else plain(role), _cut(text))
    return Shown("", _cut(_as_text(one)))


def _called(one: Any) -> Shown:
    named = next((key for key in ("tool", "name") if isinstance(one, dict) and isinstance(one.get(key), str)), None)
    if named is not None:
        return Shown(plain(one[named]), _cut(_as_text({key: one[key] for key in one if key != named})))
    return Shown("", _cut(_as_text(one)))


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


def _cut(text: str) -> list[Piece]:
    start = beginning(text[:CUT], UNSEEN_AT_MOST)
    return pieces(start if start == text else f"{start} …")


def _moment(text: Any, otherwise: datetime) -> datetime:
    """The stored time of a message; one that cannot be read stands where the burst was closed."""
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return otherwise - timedelta(microseconds=1)
    return moment if moment.tzinfo else otherwise - timedelta(microseconds=1)


def _clock(moment: datetime) -> str:
    return f"{timezone.localtime(moment):%H:%M:%S}"
