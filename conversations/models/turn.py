"""One burst on its way to one answer."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext_lazy as _

from config.columns import clock, new_id
from conversations.models.conversation import Conversation


class Trigger(models.TextChoices):
    """Why the burst was sealed."""

    DEBOUNCE = "debounce", _("quiet long enough")
    OVERFLOW = "overflow", _("too large to wait on")
    MAX_WAIT = "max_wait", _("waited long enough")
    IMMEDIATE = "immediate", _("buffering is off")
    STAFF = "staff", _("by staff")


class TurnStatus(models.TextChoices):
    """Where a turn is."""

    WAITING = "waiting", _("waiting")
    RUNNING = "running", _("running")
    DONE = "done", _("answered")
    SUPERSEDED = "superseded", _("superseded by a later turn")
    WITHDRAWN = "withdrawn", _("withdrawn")
    FAILED = "failed", _("failed")


UNFINISHED = [TurnStatus.WAITING, TurnStatus.RUNNING]


class TurnQuerySet(models.QuerySet["Turn"]):
    """Questions asked of turns."""

    def unfinished(self) -> TurnQuerySet:
        """Those that still owe an answer."""
        return self.filter(status__in=UNFINISHED)

    def running(self) -> TurnQuerySet:
        return self.filter(status=TurnStatus.RUNNING)

    def overdue(self) -> TurnQuerySet:
        """Those somebody should be working on: the retry is due, or the lease has run out."""
        now = clock()
        return self.filter(
            Q(status=TurnStatus.WAITING, next_attempt_at__lte=now) | Q(status=TurnStatus.RUNNING, lease_until__lte=now)
        )


class Turn(models.Model):
    """A sealed burst: run under a lease, settled once, kept with its story.

    `generation` grows with every claim; whoever still works under an older one updates no row.
    """

    id = models.UUIDField(primary_key=True, editable=False, db_default=new_id())
    conversation = models.ForeignKey(  # the database's own foreign key cascades, see migration 0005
        Conversation, models.DO_NOTHING, related_name="turns", db_index=False, db_constraint=False
    )
    interview_step = models.IntegerField(_("interview step"))
    flush_id = models.CharField(_("flush id"), max_length=200, unique=True)  # a burst becomes a turn once
    trigger = models.CharField(_("trigger"), max_length=10, choices=Trigger)
    status = models.CharField(_("status"), max_length=10, choices=TurnStatus, db_default=TurnStatus.WAITING)
    input = models.JSONField(_("messages"))
    attempts = models.IntegerField(_("attempts"), db_default=0, default=0)
    next_attempt_at = models.DateTimeField(_("next attempt"), db_default=clock())
    lease_until = models.DateTimeField(_("lease until"), null=True)
    generation = models.IntegerField(_("generation"), db_default=0, default=0)
    due_at = models.DateTimeField(_("due"), db_default=clock())
    waited_ms = models.IntegerField(_("waited, ms"), db_default=0, default=0)
    extended_by_typing = models.IntegerField(_("extended by typing"), db_default=0, default=0)
    redrafts = models.IntegerField(_("stale drafts before"), db_default=0, default=0)
    agent_version = models.IntegerField(_("agent version"), null=True)
    reply_id = models.UUIDField(_("reply"), null=True)
    superseded_by = models.UUIDField(_("superseded by"), null=True)
    draft = models.TextField(_("draft"), blank=True, db_default="", default="")  # an answer that was not sent
    trace = models.JSONField(_("trace"), db_default={}, default=dict)  # what the agent saw and did, for the story page
    input_tokens = models.IntegerField(_("input tokens"), db_default=0, default=0)
    output_tokens = models.IntegerField(_("output tokens"), db_default=0, default=0)
    tokens_before_retry = models.BigIntegerField(_("tokens before the retry"), db_default=0, default=0)  # not in budget
    busy_ms = models.IntegerField(_("time of failed attempts, ms"), db_default=0, default=0)  # the budget counts it
    error = models.TextField(_("error"), blank=True, db_default="", default="")
    started_at = models.DateTimeField(_("started"), null=True)
    finished_at = models.DateTimeField(_("finished"), null=True)
    created_at = models.DateTimeField(_("sealed"), db_default=clock(), editable=False)
    updated_at = models.DateTimeField(_("updated"), db_default=clock(), editable=False)

    objects = TurnQuerySet.as_manager()

    class Meta:
        db_table = "turns"
        verbose_name = _("turn")
        verbose_name_plural = _("turns")
        constraints = [
            models.UniqueConstraint(  # one running turn per conversation, whoever tries
                fields=["conversation"], condition=Q(status="running"), name="turns_one_running"
            ),
            models.CheckConstraint(condition=Q(status__in=TurnStatus.values), name="turns_status_known"),
            models.CheckConstraint(condition=Q(trigger__in=Trigger.values), name="turns_trigger_known"),
            models.CheckConstraint(  # a lease belongs to a run, and every run has one
                condition=Q(status="running", lease_until__isnull=False) | (~Q(status="running")),
                name="turns_run_under_a_lease",
            ),
        ]
        indexes = [
            models.Index(fields=["conversation", "id"], name="turns_of_conversation"),  # the story, oldest first; claim
            models.Index(  # sweep and dashboards: what is unfinished?
                fields=["next_attempt_at"], condition=Q(status__in=["waiting", "running"]), name="turns_unfinished"
            ),
            models.Index(fields=["-created_at"], name="turns_latest"),  # the staff list, and what the last hour held
        ]

    def __str__(self) -> str:
        """Turns have no names: the moment it was sealed tells it from the others of its conversation."""
        return date_format(timezone.localtime(self.created_at), "DATETIME_FORMAT") if self.created_at else ""
