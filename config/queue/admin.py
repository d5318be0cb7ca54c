"""The staff's page of the queue: what waits, runs and was given up, who works, and how much gets done.

django-q2's own pages are not registered: they unpickle what they show, and let staff name any function to run.
"""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import django_q.admin  # noqa: F401  registers its pages now, so that they can be taken away
from django.contrib import admin, messages
from django.db import connection
from django.db.models import Count, F, Max, QuerySet, Sum
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.timesince import timesince
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext
from django_q.models import Failure, OrmQ, Schedule, Success
from unfold.decorators import action, display

from config.admin import ModelAdmin
from config.models import QueuedTask, QueueMinute, QueueWorker
from config.models.queued_task import QueuedTasks, State
from config.queue import staff
from config.queue.numbers import GIVEN_UP, OLDEST_DUE, SILENT

MINUTES = 15  # of throughput that are shown
SHOWN_WORKERS, SHOWN_TASKS = 10, 8
COLOURS = {"waiting": "info", "leased": "success", "dead": "danger", "overcome": "default", "quarantined": "warning"}

for model in (Failure, OrmQ, Schedule, Success):
    if admin.site.is_registered(model):
        admin.site.unregister(model)


@admin.register(QueuedTask)
class QueuedTaskAdmin(ModelAdmin):
    """Read, retry, discard: rows are written by the queue alone."""

    empty_hint = _("Nothing waits: a task stands here from its call to its end.")
    list_display = ["id", "name", "shown_state", "due", "tries", "reason", "request_id"]
    list_display_links = ["id", "name"]
    list_filter = ["state"]
    list_per_page = 50
    search_fields = ["name", "key", "request_id"]
    search_help_text = _("Task, key or request id")
    ordering = ["-id"]
    actions = ["retry", "discard"]
    list_before_template = "config/queue.html"
    fieldsets = [
        (None, {"fields": ["name", "args", "key", "state", "error"]}),
        (_("Time"), {"fields": ["created_at", "due_at", "started_at", "lease_until", "timeout"]}),
        (_("Attempts"), {"fields": ["attempts", "max_attempts", "generation", "worker_id", "pid"]}),
        (_("Origin"), {"fields": ["request_id", "key_id"]}),
    ]

    def get_queryset(self, request: HttpRequest) -> QueuedTasks:
        found: QueuedTasks = super().get_queryset(request)
        return found.with_overcome()

    def has_add_permission(self, *_args: Any) -> bool:
        return False

    def has_change_permission(self, *_args: Any) -> bool:
        return False

    def has_delete_permission(self, *_args: Any) -> bool:
        return False

    def has_handle_permission(self, request: HttpRequest, *_args: Any) -> bool:
        return request.user.has_perm("config.change_queuedtask")

    @display(description=_("state"), ordering="state", label=COLOURS)  # type: ignore[untyped-decorator]
    def shown_state(self, task: QueuedTask) -> tuple[str, str]:
        if getattr(task, "overcome", False):
            return "overcome", str(_("given up, then done"))
        return task.state, str(State(task.state).label)

    @display(description=_("due"), ordering="due_at")  # type: ignore[untyped-decorator]
    def due(self, task: QueuedTask) -> str:
        if task.state == State.LEASED and task.started_at:
            return _("runs for %(time)s") % {"time": since(task.started_at)}
        if task.due_at > timezone.now():
            return _("in %(time)s") % {"time": distance((task.due_at - timezone.now()).total_seconds())}
        return _("%(time)s ago") % {"time": since(task.due_at)}

    @display(description=_("attempts"), ordering="attempts")  # type: ignore[untyped-decorator]
    def tries(self, task: QueuedTask) -> str:
        return f"{task.attempts} / {task.max_attempts}"

    @display(description=_("reason"))  # type: ignore[untyped-decorator]
    def reason(self, task: QueuedTask) -> str:
        first = task.error.split("\n", 1)[0]
        return first if len(first) <= 100 else first[:99] + "…"

    # --- what staff may do ---
    @action(description=_("Retry"), permissions=["handle"])  # type: ignore[untyped-decorator]
    def retry(self, request: HttpRequest, queryset: QuerySet[QueuedTask]) -> None:
        self._retry(request, list(queryset.values_list("pk", flat=True)))

    @action(description=_("Discard"), permissions=["handle"])  # type: ignore[untyped-decorator]
    def discard(self, request: HttpRequest, queryset: QuerySet[QueuedTask]) -> None:
        self._discard(request, list(queryset.values_list("pk", flat=True)))

    def _retry(self, request: HttpRequest, ids: Sequence[int]) -> None:
        again, twins = staff.retry(ids, by=request.user.get_username())
        left = len(ids) - again - twins
        messages.success(request, ngettext("%d task is due again.", "%d tasks are due again.", again) % again)
        if twins:
            messages.warning(request, _("The same wake-up waits already: %d.") % twins)
        if left:
            messages.warning(request, _("Only what was given up can be retried; left alone: %d.") % left)

    def _discard(self, request: HttpRequest, ids: Sequence[int]) -> None:
        gone = staff.discard(ids, by=request.user.get_username())
        messages.success(request, ngettext("%d task was discarded.", "%d tasks were discarded.", gone) % gone)
        if gone < len(ids):
            messages.warning(request, _("Only what was given up can be discarded; left alone: %d.") % (len(ids) - gone))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        now = {"counts": counts(), "workers": workers(), "tasks": by_task(), "chart": chart(by_minute())}
        response: HttpResponse = super().changelist_view(request, {**(extra_context or {}), "queue": now})
        return response


def counts() -> list[dict[str, Any]]:
    """The cards: a number, what it counts, and where its rows are listed."""
    states = dict(QueuedTask.objects.values_list("state").annotate(Count("id")).order_by())
    with connection.cursor() as cursor:
        cursor.execute(OLDEST_DUE)
        oldest = float(cursor.fetchone()[0])
        cursor.execute(f"SELECT count(*) FROM {GIVEN_UP} WHERE state = 'dead' AND NOT overcome")
        dead = cursor.fetchone()[0]
    recent = QueueMinute.objects.filter(minute__gt=Now() - timedelta(minutes=2)).aggregate(
        ended=Sum(F("done") + F("failed"))
    )
    cards: list[tuple[Any, Any, str]] = [
        (_("Due and waiting"), QueuedTask.objects.due().count(), "?state__exact=waiting"),
        (_("Oldest due, seconds"), round(oldest, 1), ""),
        (_("Waiting"), states.get(State.WAITING, 0), "?state__exact=waiting"),
        (_("Running"), states.get(State.LEASED, 0), "?state__exact=leased"),
        (_("Given up"), dead, "?state__exact=dead"),
        (_("Quarantined"), states.get(State.QUARANTINED, 0), "?state__exact=quarantined"),
        (_("Ended in the last two minutes"), recent["ended"] or 0, ""),
    ]
    return [{"says": says, "value": value, "link": link} for says, value, link in cards]


def workers() -> dict[str, Any]:
    """Those that run, the freshest heartbeat first; one that stopped beating stays visible for an hour."""
    found = QueueWorker.objects.filter(stopped_at=None, beat_at__gt=Now() - timedelta(hours=1)).order_by("-beat_at")
    return {
        "headers": [
            _("worker"),
            _("processes"),
            _("running since"),
            _("heartbeat"),
            _("restarts"),
            _("last trouble"),
            _("clock"),
        ],
        "rows": [
            [
                f"{worker.host} #{worker.pk}",
                worker.processes,
                since(worker.started_at),
                _beat(worker),
                worker.restarts,
                worker.trouble or "–",
                f"{worker.clock_skew_ms:+d} ms",
            ]
            for worker in found[:SHOWN_WORKERS]
        ],
    }


def _beat(worker: QueueWorker) -> str:
    age = (timezone.now() - worker.beat_at).total_seconds()
    return str(_("%(time)s ago") % {"time": distance(age)}) + (f" – {_('silent')}" if age > SILENT else "")


def by_task() -> dict[str, Any]:
    """What ended in the last quarter of an hour, by task."""
    found = (
        QueueMinute.objects.filter(minute__gt=Now() - timedelta(minutes=MINUTES))
        .values("name")
        .annotate(ok=Sum("done"), bad=Sum("failed"), busy=Sum("busy_ms"), late=Sum("late_ms"), latest=Max("latest_ms"))
        .order_by("-ok")[:SHOWN_TASKS]
    )
    rows = []
    for row in found:
        ended = max(1, row["ok"] + row["bad"])
        each, late = round(row["busy"] / ended), round(row["late"] / ended)
        rows.append([row["name"], row["ok"], row["bad"], each, late, row["latest"]])
    return {"headers": [_("task"), _("done"), _("failed"), _("ms each"), _("ms late"), _("latest")], "rows": rows}


def by_minute() -> list[tuple[str, int, int]]:
    """Done and failed per minute, gaps included, oldest first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT slot, coalesce(sum(done), 0), coalesce(sum(failed), 0) FROM generate_series("
            " date_trunc('minute', clock_timestamp()) - %s * interval '1 minute',"
            " date_trunc('minute', clock_timestamp()), interval '1 minute') AS slot"
            " LEFT JOIN queue_minutes ON minute = slot GROUP BY slot ORDER BY slot",
            [MINUTES - 1],
        )
        return [(timezone.localtime(slot).strftime("%H:%M"), int(ok), int(bad)) for slot, ok, bad in cursor.fetchall()]


def chart(minutes: list[tuple[str, int, int]]) -> str:
    """The bars, as the theme's chart takes them."""
    return json.dumps(
        {
            "labels": [minute for minute, _ok, _bad in minutes],
            "datasets": [
                {"label": str(_("done")), "data": [ok for _m, ok, _bad in minutes], "backgroundColor": "#3b82f6"},
                {"label": str(_("failed")), "data": [bad for _m, _ok, bad in minutes], "backgroundColor": "#ef4444"},
            ],
        }
    )


def since(moment: Any) -> str:
    return distance((timezone.now() - moment).total_seconds())


def distance(seconds: float) -> str:
    """Seconds while they matter, Django's words beyond."""
    if seconds < 120:
        return str(_("%d s") % max(0, round(seconds)))
    return timesince(timezone.now() - timedelta(seconds=seconds), depth=1)
