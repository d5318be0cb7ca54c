"""Agents: what each version says, what changed between two, and which one speaks."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as now_gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from agents import registry
from agents.admin.comparison import side_by_side
from agents.config import ConfigInvalidError, as_text, in_order
from agents.models import Agent, AgentVersion
from agents.models.agent import Kind
from config.admin import ReadOnlyAdmin, display

SHOWN = 100  # newest versions on the page; `manage.py agents show` reaches the others
LONGEST = 9  # digits of a version's number


@admin.register(Agent)
class AgentAdmin(ReadOnlyAdmin):
    """The list is read only; a page of its own saves, publishes, rolls back and compares versions."""

    icon = "support_agent"
    list_display = ("name", "shown_kind", "active_version", "version", "shown_state", "description")
    search_fields = ("name", "description")
    sortable_by = ()
    actions = None

    def get_urls(self) -> list[URLPattern]:
        verbs = {"save": self.save_version, "publish": self.publish, "rollback": self.rollback, "switch": self.switch}
        return [*self.urls_below("<uuid:agent_id>", verbs), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Versions, their texts side by side, and a form for the next one."""
        if request.method not in {"GET", "HEAD"}:
            return HttpResponseNotAllowed(["GET", "HEAD"])
        return self._page(request, self._agent(request, _uuid(object_id)))

    def _page(self, request: HttpRequest, agent: Agent, draft: str | None = None, problems: Any = ()) -> HttpResponse:
        versions = list(agent.versions.order_by("-version")[:SHOWN])
        chosen = _chosen(versions, request.GET.get("new"), agent.active_version)
        other = _chosen(versions, request.GET.get("old"), chosen.version - 1 if chosen else None)
        rows = side_by_side(as_text(other.config), as_text(chosen.config)) if chosen and other else []
        context = {
            **self.admin_site.each_context(request),
            "title": agent.name,
            "opts": self.opts,
            "agent": agent,
            "versions": versions,
            "old": other,
            "new": chosen,
            "rows": rows,
            "changed": any(row.kind for row in rows),
            "may_change": self._may_change(request),
            "has_older": agent.versions.filter(version__lt=agent.active_version or 0).exists(),
            "draft": draft if draft is not None else _as_json(_editable(versions, request.GET.get("new"), chosen)),
            "problems": problems,
        }
        return TemplateResponse(request, "agents/agent.html", context, status=400 if problems else 200)

    @method_decorator(require_POST)
    def save_version(self, request: HttpRequest, agent_id: UUID) -> HttpResponse:
        agent = self._changeable(request, agent_id)
        text = request.POST.get("config", "").replace("\r\n", "\n")
        try:
            saved = registry.save_version(agent, _parsed(text), by=request.user.get_username())
        except ConfigInvalidError as error:
            return self._page(request, agent, text, error.problems)
        told = now_gettext("Version %(number)d is saved. It speaks once it is published.") % {"number": saved.version}
        self.message_user(request, told, messages.SUCCESS)
        return redirect(f"{_here(agent)}?new={saved.version}&old={agent.active_version}")

    @method_decorator(require_POST)
    def publish(self, request: HttpRequest, agent_id: UUID) -> HttpResponse:
        agent, number = self._changeable(request, agent_id), request.POST.get("version", "")
        if not _is_number(number):
            raise Http404
        return self._speak(request, agent, lambda by: registry.publish(agent, int(number), by=by))

    @method_decorator(require_POST)
    def rollback(self, request: HttpRequest, agent_id: UUID) -> HttpResponse:
        agent = self._changeable(request, agent_id)
        return self._speak(request, agent, lambda by: registry.rollback(agent, by=by))

    @method_decorator(require_POST)
    def switch(self, request: HttpRequest, agent_id: UUID) -> HttpResponse:
        agent = self._changeable(request, agent_id)
        registry.switch(agent, on=request.POST.get("on") == "yes", by=request.user.get_username())
        return redirect(_here(agent))

    def _speak(self, request: HttpRequest, agent: Agent, change: Any) -> HttpResponse:
        try:
            number = change(request.user.get_username()).active_version
            told = now_gettext(
                "From the next turn on, version %(number)d speaks; interviews under way go on with theirs."
            ) % {"number": number}
            self.message_user(request, told, messages.SUCCESS)
        except registry.RegistryError as error:
            self.message_user(request, str(error), messages.ERROR)
        return redirect(_here(agent))

    def _agent(self, request: HttpRequest, agent_id: UUID | None) -> Agent:
        agent = Agent.objects.filter(pk=agent_id).first() if agent_id else None
        if not self.has_view_permission(request, agent):
            raise PermissionDenied
        if agent is None:
            raise Http404
        return agent

    def _changeable(self, request: HttpRequest, agent_id: UUID) -> Agent:
        if not self._may_change(request):
            raise PermissionDenied
        return self._agent(request, agent_id)

    def _may_change(self, request: HttpRequest) -> bool:
        return request.user.has_perm("agents.change_agent")

    def has_view_permission(self, request: HttpRequest, obj: Agent | None = None) -> bool:
        return super().has_view_permission(request, obj) or self._may_change(request)

    @display(description=_("kind"))
    def shown_kind(self, agent: Agent) -> str:
        return str(Kind(agent.kind).label)

    @display(description=_("new conversations"), label={"on": "success", "off": "warning"})
    def shown_state(self, agent: Agent) -> tuple[str, str]:
        return ("on", str(_("takes them"))) if agent.is_active else ("off", str(_("takes none")))


def _parsed(text: str) -> Any:
    """JSON as the form shows it, or TOML as the files have it."""
    if not text.lstrip().startswith("{"):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigInvalidError([now_gettext("This is not JSON: %(reason)s.") % {"reason": error}]) from error


def _as_json(version: AgentVersion | None) -> str:
    return json.dumps(in_order(version.config), ensure_ascii=False, indent=2) if version else ""


def _editable(versions: list[AgentVersion], wanted: str | None, chosen: AgentVersion | None) -> AgentVersion | None:
    """What the editor opens with: the version that was asked for, else the newest, published or not."""
    return chosen if wanted else next(iter(versions), None)


def _chosen(versions: list[AgentVersion], wanted: str | None, otherwise: int | None) -> AgentVersion | None:
    number = int(wanted) if wanted and _is_number(wanted) else otherwise
    return next((one for one in versions if one.version == number), None)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= LONGEST


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _here(agent: Agent) -> str:
    return reverse("admin:agents_agent_change", args=[agent.pk])
