"""A task that waits, runs, or was given up. A task that succeeded has no row."""

from typing import ClassVar

from django.db import models
from django.db.models import Case, Exists, OuterRef, Q, Value, When
from django.db.models.functions import Coalesce, Concat, Length, Now
from django.db.models.lookups import LessThanOrEqual
from django.utils.translation import gettext_lazy as _

from config.models.queue_period import QueuePeriod

ARGS_LIMIT = 2048  # bytes: a task carries ids, the row it points to carries the rest
KEY_LIMIT = 300  # characters


def _text(words: str) -> Value:
    return Value(words, output_field=models.TextField())


class State(models.TextChoices):
    WAITING = "waiting", _("waiting")
    LEASED = "leased", _("running")
    DEAD = "dead", _("given up")
    QUARANTINED = "quarantined", _("quarantined")


class QueuedTasks(models.QuerySet["QueuedTask"]):
    def due(self) -> "QueuedTasks":
        return self.filter(state=State.WAITING, due_at__lte=Now())

    def given_up(self) -> "QueuedTasks":
        return self.filter(state__in=[State.DEAD, State.QUARANTINED])

    def with_overcome(self) -> "QueuedTasks":
        """Was it given up, and did the same period succeed later? As `GIVEN_UP` of config/queue/numbers.py counts."""
        later = QueuePeriod.objects.filter(name=OuterRef("name"), succeeded__gt=OuterRef("pk"))
        slot = Q(state=State.DEAD, args="[]", key=Concat(_text('["'), "name", _text('"]')))
        return self.annotate(overcome=Case(When(slot, then=Exists(later)), default=Value(False)))


class QueuedTask(models.Model):
    """One row per task; the claim, its lease and its fence live in the row."""

    name = models.TextField(_("task"))
    args = models.TextField(_("arguments"), help_text=_("A JSON array."))
    key = models.TextField(  # noqa: DJ001  no key is not an empty key: NULLs are distinct in the unique index
        _("key"), null=True, help_text=_("While one waits, another of this name and key is not added.")
    )
    state = models.TextField(_("state"), choices=State, db_default=State.WAITING)
    due_at = models.DateTimeField(_("due"), db_default=Now())
    lease_until = models.DateTimeField(_("leased until"), null=True)
    started_at = models.DateTimeField(_("started"), null=True)
    attempts = models.SmallIntegerField(_("attempts"), db_default=0)
    max_attempts = models.SmallIntegerField(_("attempts allowed"), db_default=5)
    timeout = models.SmallIntegerField(_("seconds allowed"), db_default=60)
    generation = models.BigIntegerField(_("generation"), db_default=0)
    worker_id = models.BigIntegerField(
        _("worker"), null=True
    )  # no foreign key: it would lock the worker's row per claim
    pid = models.IntegerField(_("process"), null=True)
    error = models.TextField(_("reason"), db_default="")
    request_id = models.TextField(_("request"), db_default="")
    key_id = models.TextField(_("signing key"))
    signature = models.TextField(_("signature"))
    created_at = models.DateTimeField(_("created"), db_default=Now())

    objects: ClassVar[models.Manager["QueuedTask"]] = QueuedTasks.as_manager()

    class Meta:
        db_table = "queue_tasks"
        verbose_name = _("queued task")
        verbose_name_plural = _("queue")
        constraints = [
            # the closed list of states
            models.CheckConstraint(condition=Q(state__in=State.values), name="queue_tasks_state"),
            # a lease belongs to a running task, and a running task has one
            models.CheckConstraint(
                condition=Q(state=State.LEASED, lease_until__isnull=False)
                | (~Q(state=State.LEASED) & Q(lease_until=None)),
                name="queue_tasks_lease",
            ),
            # what was given up says why
            models.CheckConstraint(
                condition=Q(state__in=[State.WAITING, State.LEASED]) | ~Q(error=""), name="queue_tasks_reason"
            ),
            # a name a log line, a metric label and a page can carry
            models.CheckConstraint(condition=Q(name__regex=r"^[a-z][a-z0-9_.]{0,99}$"), name="queue_tasks_name"),
            # tasks stay wake-ups: what they carry is small
            models.CheckConstraint(
                condition=LessThanOrEqual(Length("args"), ARGS_LIMIT)
                & (Q(key=None) | LessThanOrEqual(Length("key"), KEY_LIMIT)),
                name="queue_tasks_small",
            ),
            # attempts are bounded, whatever the code says
            models.CheckConstraint(
                condition=Q(attempts__gte=0, max_attempts__range=(1, 100), timeout__range=(1, 3600)),
                name="queue_tasks_bounds",
            ),
            # defer(key=...): a second identical wake-up is a no-op while one waits
            models.UniqueConstraint(
                fields=["name", "key"],
                condition=Q(state=State.WAITING, key__isnull=False),
                name="queue_tasks_one_waits",
            ),
        ]
        indexes = [
            # claim: the next row whose due time, or whose dead owner's lease, has passed
            models.Index(
                Coalesce("lease_until", "due_at"),
                "id",
                condition=Q(state__in=[State.WAITING, State.LEASED]),
                name="queue_tasks_next",
            ),
            # supervisor: what does this worker hold?
            models.Index(fields=["worker_id"], condition=Q(state=State.LEASED), name="queue_tasks_held"),
            # queue page: what was given up
            models.Index(
                fields=["state", "-id"],
                condition=~Q(state__in=[State.WAITING, State.LEASED]),
                name="queue_tasks_given_up",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} #{self.pk}"
