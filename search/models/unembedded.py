"""Entries without a vector: work for the embedder, or its refusal."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from config.columns import clock
from search.models.entry import Entry
from search.models.space import Space


class Wait(models.TextChoices):
    """What becomes of it."""

    WAITING = "waiting", _("waiting")
    FAILED = "failed", _("refused")


class Unembedded(models.Model):
    """One per entry that has no vector yet. A row of its own, because claiming a wide one would write it anew."""

    entry = models.OneToOneField(  # the database's own foreign key cascades, see migration 0002
        Entry, models.DO_NOTHING, primary_key=True, db_constraint=False
    )
    space = models.ForeignKey(Space, models.DO_NOTHING, db_column="space", db_index=False, db_constraint=False)
    state = models.CharField(_("state"), max_length=10, choices=Wait, db_default=Wait.WAITING)
    attempts = models.IntegerField(_("attempts"), db_default=0)
    due_at = models.DateTimeField(_("due"), db_default=clock())  # a claim moves it on: the lease
    error = models.TextField(_("error"), blank=True, db_default="")
    created_at = models.DateTimeField(_("created"), db_default=clock(), editable=False)
    updated_at = models.DateTimeField(_("updated"), db_default=clock(), editable=False)

    class Meta:
        db_table = "search_unembedded"
        verbose_name = _("entry without a vector")
        verbose_name_plural = _("entries without a vector")
        constraints = [
            models.CheckConstraint(condition=Q(state__in=Wait.values), name="search_unembedded_state_known"),
        ]
        indexes = [
            models.Index(  # the claim: what is due in this space, the oldest first
                fields=["space", "due_at"], condition=Q(state="waiting"), name="search_unembedded_due"
            ),
            models.Index(  # refused ones, for staff and for trying again
                fields=["space"], condition=Q(state="failed"), name="search_unembedded_failed"
            ),
        ]

    def __str__(self) -> str:
        return str(self.entry_id)
