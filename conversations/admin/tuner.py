"""The page of the debounce tuner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from conversations import tuning

if TYPE_CHECKING:
    from config.admin import ModelAdmin

    Base = ModelAdmin
else:
    Base = object

USUAL = 30  # seconds of silence that end a thought


class Tuner(Base):
    """Read only: the window itself is a setting, or a line in an agent's config."""

    @method_decorator(require_safe)
    def tuner(self, request: HttpRequest) -> HttpResponse:
        if not self.has_view_permission(request):
            raise PermissionDenied
        asked = request.GET.get("thought", "")
        thought = int(asked) if asked in map(str, tuning.THOUGHTS) else USUAL
        said = tuning.times()
        rows = tuning.replay(tuning.pauses(said), thought=thought)
        context = {
            **self.admin_site.each_context(request),
            "title": _("Debounce tuner"),
            "rows": rows,
            "messages_seen": sum(theirs for _conversation, theirs, _at in said),
            "suggested": tuning.suggested(rows),
            "current": settings.INTERVIEW_BUFFER_DEBOUNCE_TIMEOUT,
            "thought": thought,
            "thoughts": tuning.THOUGHTS,
        }
        request.current_app = self.admin_site.name
        return TemplateResponse(request, "conversations/tuner.html", context)
