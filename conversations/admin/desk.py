"""What staff do on the page of a conversation: take over, answer, hand back."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.utils.translation import gettext as _

from conversations import burst, takeover, tally, undelivered
from conversations.admin import links
from conversations.errors import BlankMessageError, ConversationClosedError
from conversations.log import Entry, LogError
from conversations.models import Conversation, Delivery, DeliveryStatus, Mode

if TYPE_CHECKING:
    from config.admin import ModelAdmin

    Base = ModelAdmin
else:
    Base = object

LONGEST = 32_000  # characters a colleague sends at once


class ReplyForm(forms.Form):
    """Django's field refuses what the database could not store."""

    content = forms.CharField(max_length=LONGEST, strip=False)
    token = forms.UUIDField(required=False)  # made with the page: pages from before it existed bring none


def may_act(request: HttpRequest) -> bool:
    """Speaking in the agent's place takes the permission to change conversations."""
    return request.user.has_perm("conversations.change_conversation")


def posted(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A button's view. Whoever had to log in on the way here comes by GET, and is led to the transcript."""

    @wraps(view)
    def shown(model_admin: Any, request: HttpRequest, conversation_id: UUID) -> HttpResponse:
        if request.method != "POST":
            return redirect(links.conversation_url(conversation_id))
        return view(model_admin, request, conversation_id)

    return shown


class Desk(Base):
    """The views behind the buttons; what they do are the verbs of `conversations.takeover`."""

    @posted
    def take_over(self, request: HttpRequest, conversation_id: UUID) -> HttpResponse:
        found = self._acted_on(request, conversation_id)
        if takeover.take_over(found.pk, by=request.user.get_username()):
            self.log_change(request, found, "taken over")
            messages.success(request, _("You answer from here on; the agent is silent."))
        else:
            _refused(request, found)
        return redirect(links.conversation_url(found.pk))

    @posted
    def hand_back(self, request: HttpRequest, conversation_id: UUID) -> HttpResponse:
        found = self._acted_on(request, conversation_id)
        if takeover.hand_back(found.pk, by=request.user.get_username()):
            self.log_change(request, found, "handed back")
            messages.success(request, _("The agent answers again, from the next message on."))
        else:
            _refused(request, found)
        return redirect(links.conversation_url(found.pk))

    @posted
    def reply(self, request: HttpRequest, conversation_id: UUID) -> HttpResponse:
        """The page's script asks for JSON and stays where it is; without it the page comes back."""
        found = self._acted_on(request, conversation_id)
        form = ReplyForm(request.POST)
        if not form.is_valid():
            level, text = messages.ERROR, _("Nothing was sent: %s") % unsaid(form)
        elif burst.is_blank(content := form.cleaned_data["content"].replace("\r\n", "\n")):
            tally.count_refusal(BlankMessageError.code)
            level, text = messages.ERROR, _("Nothing was sent: the message is empty.")
        else:
            level, text = self._say(request, found, content, form.cleaned_data["token"])
        if request.headers.get("Accept") == "application/json":
            refused = level == messages.ERROR
            return JsonResponse({"error" if refused else "note": text}, status=400 if refused else 200)
        messages.add_message(request, level, text)
        return redirect(links.conversation_url(found.pk))

    def _say(self, request: HttpRequest, found: Conversation, text: str, token: UUID | None) -> tuple[int, str]:
        """The level and the text of what to tell the colleague."""
        try:
            entry = takeover.reply(found.pk, text, by=request.user.get_username(), external_id=_name(token, text))
        except ConversationClosedError:
            return messages.ERROR, _("Nothing was sent: the conversation is closed.")
        except LogError as error:
            return messages.ERROR, _("Nothing was sent: %s") % error
        if not entry.repeated:
            self.log_change(request, found, f"replied, message #{entry.message_index}")
        return _outcome(entry)

    def _acted_on(self, request: HttpRequest, conversation_id: UUID) -> Any:
        if not may_act(request):
            raise PermissionDenied
        found = Conversation.objects.filter(pk=conversation_id).first()
        if found is None:
            raise Http404
        return found


def _outcome(entry: Entry) -> tuple[int, str]:
    """What is known of the reply's delivery so far; not more."""
    delivery = Delivery.objects.filter(message_id=entry.id).order_by("-part").first()
    if delivery is None or delivery.status == DeliveryStatus.SENT:
        return messages.SUCCESS, _("Sent as message #%d.") % entry.message_index
    if problem := undelivered.hindrance(delivery):
        told = {"number": entry.message_index, "problem": problem}
        return messages.WARNING, _("Message #%(number)d is stored, but cannot be sent now: %(problem)s") % told
    return messages.SUCCESS, _("Message #%d is stored and on its way.") % entry.message_index


def _name(token: UUID | None, text: str) -> str | None:
    """One text from one page is one message, however often the form is sent; another text is another message, since
    going back in the browser shows the page as it was."""
    return None if token is None else f"reply:{uuid5(token, text)}"


CODES = {"required": BlankMessageError.code, "max_length": "too_long"}  # what forms say, and what the API does


def unsaid(form: forms.Form) -> str:
    """Why the form holds nothing that can be said; counted, as the verb behind it would."""
    for error in form.errors.as_data().get("content", ())[:1]:
        tally.count_refusal(CODES.get(error.code or "", "invalid_value"))
    return " ".join(str(error) for errors in form.errors.values() for error in errors)


def _refused(request: HttpRequest, found: Conversation) -> None:
    """Somebody was faster: say how it stands."""
    found.refresh_from_db(fields=["mode"])
    messages.warning(request, _("Nothing was changed: %s.") % Mode(found.mode).label)
