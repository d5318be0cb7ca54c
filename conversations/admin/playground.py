"""The playground: staff talk to an agent as a person would, and watch it wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_http_methods, require_POST

from agents.models import Agent
from conversations import buffering, sessions
from conversations.admin import desk, links
from conversations.errors import ConversationError
from conversations.log import LogError
from conversations.models import Conversation, Mode

if TYPE_CHECKING:
    from config.admin import ModelAdmin

    Base = ModelAdmin
else:
    Base = object

CHANNEL = "web"
LATEST = 20  # own conversations on the page


def agents() -> Any:
    """Those that take conversations."""
    return Agent.objects.active().order_by("name")


class ChoiceForm(forms.Form):
    """Whom to talk to."""

    agent = forms.ModelChoiceField(Agent.objects.none(), empty_label=None, label=gettext_lazy("Agent"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        cast("forms.ModelChoiceField[Agent]", self.fields["agent"]).queryset = agents()


class SayForm(forms.Form):
    """One message; Django's field refuses what the database could not store."""

    content = forms.CharField(max_length=desk.LONGEST, strip=False)
    token = forms.CharField(max_length=64, required=False)  # names the message: a repeated request stores it once


def person(request: HttpRequest) -> int:
    """Whom a colleague plays: a user id below zero is nobody who writes from outside."""
    return -int(request.user.pk or 0)


def is_mine(request: HttpRequest, conversation: Conversation) -> bool:
    """May this colleague write in it as the person?"""
    return conversation.channel == CHANNEL and conversation.user_id == person(request) and desk.may_act(request)


class Playground(Base):
    """The page, and what its conversations take from the browser."""

    @method_decorator(require_http_methods(["GET", "HEAD", "POST"]))
    def playground(self, request: HttpRequest) -> HttpResponse:
        """Choose an agent; begin."""
        if not desk.may_act(request):
            raise PermissionDenied
        form = ChoiceForm(request.POST or None)
        if request.method == "POST" and form.is_valid():
            agent = form.cleaned_data["agent"]
            title = _("Playground: %s") % agent.name
            begun, _new = sessions.open(person(request), channel=CHANNEL, agent_id=agent.pk, title=title)
            return redirect(links.conversation_url(begun.pk))
        mine = Conversation.objects.filter(user_id=person(request), channel=CHANNEL).select_related("agent")
        context = {
            **self.admin_site.each_context(request),
            "title": _("Playground"),
            "form": form,
            "agents": sorted(agents(), key=lambda agent: agent.name != settings.DEFAULT_AGENT),
            "mine": mine.order_by("-id")[:LATEST],
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "conversations/playground.html", context)

    @method_decorator(require_POST)
    def say(self, request: HttpRequest, conversation_id: UUID) -> HttpResponse:
        """A line of the burst. The page's script asks for JSON; without it the page comes back."""
        found = self._played(request, conversation_id)
        form = SayForm(request.POST)
        error = ""
        if form.is_valid():
            text, token = form.cleaned_data["content"].replace("\r\n", "\n"), form.cleaned_data["token"]
            try:
                buffering.receive(found.pk, text, external_id=token or None)
            except (ConversationError, LogError) as refusal:
                error = str(refusal)
        else:
            error = desk.unsaid(form)
        if request.headers.get("Accept") == "application/json":
            return JsonResponse({"error": error} if error else {}, status=400 if error else 202)
        if error:
            messages.error(request, _("Nothing was sent: %s") % error)
        return redirect(links.conversation_url(found.pk))

    @method_decorator(require_POST)
    def typing(self, request: HttpRequest, conversation_id: UUID) -> HttpResponse:
        """Keys are being pressed: what waits goes on waiting."""
        buffering.typing(self._played(request, conversation_id).pk, "typing")
        return HttpResponse(status=202)

    def _played(self, request: HttpRequest, conversation_id: UUID) -> Conversation:
        found = Conversation.objects.filter(pk=conversation_id).exclude(mode=Mode.CLOSED).first()
        if found is None:
            raise Http404
        if not is_mine(request, found):
            raise PermissionDenied
        return found
