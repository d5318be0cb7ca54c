"""What the start page tells of the agents' tools."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from config.figures import Told, count, figure, span


@figure(
    gettext_lazy("Tools that wait for you"),
    "SELECT count(*), extract(epoch FROM clock_timestamp() - min(created_at))::float8 FROM tool_calls"
    " WHERE status = 'waiting'",
    group=gettext_lazy("Approvals"), permission="agents.view_toolcall", page="admin:agents_toolcall_changelist",
    status__exact="waiting",
)  # fmt: skip
def waiting(number: int, oldest: float | None) -> Told:
    alert = _("An agent has waited for an approval for %s.") % span(oldest) if oldest else ""
    return Told(count(number), _("the oldest for %s") % span(oldest) if number else _("nothing to approve"), alert)


@figure(
    gettext_lazy("Tools whose outcome is not known"),
    "SELECT count(*), extract(epoch FROM clock_timestamp() - min(created_at))::float8 FROM tool_calls"
    " WHERE status = 'unknown'",
    group=gettext_lazy("Approvals"), permission="agents.view_toolcall", page="admin:agents_toolcall_changelist",
    status__exact="unknown",
)  # fmt: skip
def unknown(number: int, oldest: float | None) -> Told:
    alert = ""
    if oldest:
        alert = _("Nobody knows whether a tool acted (%s ago): look at the other side, and say what became of it.")
        alert %= span(oldest)
    return Told(count(number), _("nothing is repeated by itself"), alert)
