"""One chunk of one thing that can be found."""

from __future__ import annotations

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.contrib.postgres.search import SearchVectorField
from django.db import models
from django.db.models import F, Func, Q, Value
from django.db.models.lookups import GreaterThan
from django.utils.translation import gettext_lazy as _
from pgvector.django import VectorField

from config.columns import clock, is_json_object, new_id
from search.models.space import Space


def words(column: str) -> Func:
    """Lexemes of a text. The configuration `russian` stems Latin words as `english` does, so it serves both."""
    folded = Func(column, Value("ёЁ"), Value("еЕ"), function="translate", output_field=models.TextField())
    return Func(folded, template="to_tsvector('russian'::regconfig, %(expressions)s)", output_field=SearchVectorField())


class Entry(models.Model):
    """A chunk in one space: its words are searchable at once, its vector comes when the embedder has made it."""

    id = models.UUIDField(primary_key=True, editable=False, db_default=new_id())
    entity_type = models.CharField(_("type"), max_length=50)
    entity_id = models.UUIDField(_("id of the source"))
    chunk = models.IntegerField(_("chunk"), db_default=0)
    space = models.ForeignKey(Space, models.PROTECT, db_column="space", db_index=False, verbose_name=_("space"))
    content = models.TextField(_("content"))
    content_hash = models.GeneratedField(  # identical texts share a vector; finds them, proves nothing
        verbose_name=_("hash of the content"),
        expression=Func(Func("content", function="md5"), Value("hex"), function="decode"),
        output_field=models.BinaryField(),
        db_persist=True,
    )
    embedding = VectorField(_("vector"), null=True, blank=True)
    tsv = models.GeneratedField(
        verbose_name=_("words"), expression=words("content"), output_field=SearchVectorField(), db_persist=True
    )
    metadata = models.JSONField(_("metadata"), db_default={}, default=dict, blank=True)
    user_id = models.BigIntegerField(_("user"), null=True, blank=True)
    deleted = models.BooleanField(_("deleted"), db_default=False)
    at = models.DateTimeField(_("time"), db_default=clock())  # of the source: filters and ties go by it
    created_at = models.DateTimeField(_("created"), db_default=clock(), editable=False)
    updated_at = models.DateTimeField(_("updated"), db_default=clock(), editable=False)

    class Meta:
        db_table = "search_index"
        verbose_name = _("entry of the search index")
        verbose_name_plural = _("search index")
        constraints = [
            models.UniqueConstraint(  # a chunk is once in a space; finds all chunks of a thing
                fields=["entity_type", "entity_id", "chunk", "space"], name="search_index_one_per_chunk"
            ),
            models.CheckConstraint(condition=Q(chunk__gte=0), name="search_index_chunk_from_zero"),
            models.CheckConstraint(condition=is_json_object("metadata"), name="search_index_metadata_object"),
            models.CheckConstraint(  # cosine of a zero vector is NaN, and NaN poisons every order
                condition=Q(embedding__isnull=True)
                | Q(
                    GreaterThan(Func("embedding", function="vector_norm", output_field=models.FloatField()), Value(0.0))
                ),
                name="search_index_no_zero_vector",
            ),
        ]
        indexes = [
            GinIndex(fields=["tsv"], name="search_index_words"),  # every search by word
            GinIndex(OpClass("metadata", "jsonb_path_ops"), name="search_index_metadata"),  # filters by @>
            models.Index(fields=["user_id", "space"], name="search_index_user"),  # whose rows are these?
            models.Index("space", F("at").desc(), name="search_index_at"),  # dates, and the newest of frequent words
            models.Index(fields=["space", "content_hash"], name="search_index_content"),  # embedded once before?
        ]

    def __str__(self) -> str:
        return f"{self.entity_type} {self.entity_id} {self.chunk}"
