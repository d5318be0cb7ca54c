"""A space: the vectors of one model. Those of two models mean different things and are never compared."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from config.columns import clock

INDEXABLE = 2_000  # dimensions an HNSW index takes in single precision; above, half precision up to MOST
MOST = 4_000


class Status(models.TextChoices):
    """Where a space is in its life."""

    BUILDING = "building", _("being built")
    ACTIVE = "active", _("serving")
    RETIRED = "retired", _("retired")


class Space(models.Model):
    """A whole generation of the index. A model of "" is the space of an installation that never had an embedder.

    The id stands in the predicate of the space's own vector index, so it is small and never reused.
    """

    id = models.AutoField(primary_key=True)
    model = models.TextField(_("model"), blank=True, db_default="")
    dimensions = models.IntegerField(_("dimensions"), db_default=0)
    status = models.CharField(_("status"), max_length=10, choices=Status, db_default=Status.BUILDING)
    copied_upto = models.UUIDField(_("copied up to"), null=True, editable=False)  # entry of the space it is made from
    copied_at = models.DateTimeField(_("texts copied"), null=True)  # from here on only what is new is missing
    entries = models.BigIntegerField(_("entries"), db_default=0)
    embedded = models.BigIntegerField(_("embedded"), db_default=0)
    pending = models.BigIntegerField(_("waiting for a vector"), db_default=0)
    failed = models.BigIntegerField(_("refused"), db_default=0)
    stale = models.BigIntegerField(_("rows not indexed yet"), db_default=0)
    counted_at = models.DateTimeField(_("counted"), null=True)
    counting_ms = models.FloatField(_("counting took, ms"), db_default=0)
    paused_until = models.DateTimeField(_("paused until"), null=True)
    failures = models.IntegerField(_("failures in a row"), db_default=0)  # of the embedder, not of one text
    error = models.TextField(_("last error"), blank=True, db_default="")
    error_at = models.DateTimeField(_("of"), null=True)
    index_failures = models.IntegerField(_("failed builds of its index"), db_default=0)  # in a row
    index_error = models.TextField(_("why its index cannot be built"), blank=True, db_default="")
    index_due_at = models.DateTimeField(_("its index is tried again"), null=True)
    activated_at = models.DateTimeField(_("serving since"), null=True)
    retired_at = models.DateTimeField(_("retired"), null=True)
    cleared_at = models.DateTimeField(_("cleared away"), null=True)
    created_at = models.DateTimeField(_("created"), db_default=clock(), editable=False)
    updated_at = models.DateTimeField(_("updated"), db_default=clock(), editable=False)

    class Meta:
        db_table = "search_spaces"
        verbose_name = _("space of vectors")
        verbose_name_plural = _("spaces of vectors")
        constraints = [
            models.UniqueConstraint(  # one space serves, whoever activates another
                fields=["status"], condition=Q(status="active"), name="search_spaces_one_active"
            ),
            models.UniqueConstraint(  # one switch at a time
                fields=["status"], condition=Q(status="building"), name="search_spaces_one_building"
            ),
            models.CheckConstraint(condition=Q(status__in=Status.values), name="search_spaces_status_known"),
            models.CheckConstraint(  # no model, no dimensions; and no more than an index can hold
                condition=Q(model="", dimensions=0) | (~Q(model="") & Q(dimensions__gte=1, dimensions__lte=MOST)),
                name="search_spaces_dimensions",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} ({self.dimensions})" if self.model else str(_("by word only"))

    @property
    def vector_type(self) -> str:
        """The SQL type its vectors are compared in."""
        return f"{'vector' if self.dimensions <= INDEXABLE else 'halfvec'}({int(self.dimensions)})"

    @property
    def operators(self) -> str:
        """The operator class of its index."""
        return f"{'vector' if self.dimensions <= INDEXABLE else 'halfvec'}_cosine_ops"

    @property
    def index_name(self) -> str:
        return f"search_index_space_{int(self.pk)}"
