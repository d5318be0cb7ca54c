"""What the start page tells of the queue."""

from __future__ import annotations

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from config.figures import Told, count, figure, span
from config.queue.numbers import GIVEN_UP, LATE, OLDEST_DUE, SILENT, START_ONE

QUEUE, PAGE, SEE = gettext_lazy("Queue"), "admin:config_queuedtask_changelist", "config.view_queuedtask"


@figure(
    gettext_lazy("Tasks due"),
    "SELECT (SELECT count(*) FROM queue_tasks WHERE state = 'waiting' AND due_at <= clock_timestamp()),"
    f" ({OLDEST_DUE})",
    group=QUEUE, permission=SEE, page=PAGE, state__exact="waiting",
)  # fmt: skip
def due(number: int, oldest: float) -> Told:
    alert = _("Due work waits since %s: too few workers?") % span(oldest) if oldest > LATE else ""
    return Told(count(number), _("the oldest for %s") % span(oldest) if number else _("on time"), alert)


@figure(
    gettext_lazy("Tasks given up"),
    "SELECT count(*) FILTER (WHERE state = 'dead'), count(*) FILTER (WHERE state = 'quarantined')"
    f" FROM {GIVEN_UP} WHERE NOT overcome",
    group=QUEUE, permission=SEE, page=PAGE, state__exact="dead",
)  # fmt: skip
def given_up(dead: int, unreadable: int) -> Told:
    number = dead + unreadable
    alert = ""
    if number:
        alert = ngettext("%s task was given up: look at its error, run it again or delete it.",
                         "%s tasks were given up: look at their errors, run them again or delete them.",
                         number) % count(number)  # fmt: skip
    return Told(count(number), _("of these unreadable: %s") % count(unreadable), alert)


@figure(
    gettext_lazy("Worker groups"),
    f"SELECT count(*) FILTER (WHERE beat_at > clock_timestamp() - {SILENT} * interval '1 second'),"
    " extract(epoch FROM clock_timestamp() - max(beat_at))::float8 FROM queue_workers WHERE stopped_at IS NULL",
    group=QUEUE, permission=SEE, page=PAGE,
)  # fmt: skip
def workers(living: int, age: float | None) -> Told:
    alert = "" if living else _("No worker runs, so nobody is answered. %s") % START_ONE
    return Told(count(living), _("last heartbeat %s ago") % span(age), alert)
