"""The index of what can be found: spaces, entries, and the work that waits."""

import django.contrib.postgres.indexes
import django.contrib.postgres.search
import django.db.models.deletion
import django.db.models.lookups
import pgvector.django.vector
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [("config", "0001_extensions")]

    operations = [
        migrations.CreateModel(
            name="Pending",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("entity_type", models.CharField(max_length=50, verbose_name="type")),
                ("entity_id", models.UUIDField(verbose_name="id of the source")),
                ("attempts", models.SmallIntegerField(db_default=0, verbose_name="attempts")),
                ("error", models.TextField(blank=True, db_default="", verbose_name="error")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField()),
                        editable=False,
                        verbose_name="changed",
                    ),
                ),
            ],
            options={
                "verbose_name": "row to index",
                "verbose_name_plural": "rows to index",
                "db_table": "search_pending",
            },
        ),
        migrations.CreateModel(
            name="Walk",
            fields=[
                ("name", models.TextField(primary_key=True, serialize=False)),
                ("upto", models.UUIDField(null=True, verbose_name="done up to")),
                ("checked", models.BigIntegerField(db_default=0, verbose_name="rows checked")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField()),
                        editable=False,
                        verbose_name="started",
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField()),
                        editable=False,
                        verbose_name="updated",
                    ),
                ),
            ],
            options={
                "verbose_name": "unfinished reindexing",
                "verbose_name_plural": "unfinished reindexings",
                "db_table": "search_walks",
            },
        ),
        migrations.CreateModel(
            name="Space",
            fields=[
                ("id", models.AutoField(primary_key=True, serialize=False)),
                ("model", models.TextField(blank=True, db_default="", verbose_name="model")),
                ("dimensions", models.IntegerField(db_default=0, verbose_name="dimensions")),
                (
                    "status",
                    models.CharField(
                        choices=[("building", "being built"), ("active", "serving"), ("retired", "retired")],
                        db_default="building",
                        max_length=10,
                        verbose_name="status",
                    ),
                ),
                ("copied_upto", models.UUIDField(editable=False, null=True, verbose_name="copied up to")),
                ("copied_at", models.DateTimeField(null=True, verbose_name="texts copied")),
                ("entries", models.BigIntegerField(db_default=0, verbose_name="entries")),
                ("embedded", models.BigIntegerField(db_default=0, verbose_name="embedded")),
                ("pending", models.BigIntegerField(db_default=0, verbose_name="waiting for a vector")),
                ("failed", models.BigIntegerField(db_default=0, verbose_name="refused")),
                ("stale", models.BigIntegerField(db_default=0, verbose_name="rows not indexed yet")),
                ("counted_at", models.DateTimeField(null=True, verbose_name="counted")),
                ("counting_ms", models.FloatField(db_default=0, verbose_name="counting took, ms")),
                ("paused_until", models.DateTimeField(null=True, verbose_name="paused until")),
                ("failures", models.IntegerField(db_default=0, verbose_name="failures in a row")),
                ("error", models.TextField(blank=True, db_default="", verbose_name="last error")),
                ("error_at", models.DateTimeField(null=True, verbose_name="of")),
                ("activated_at", models.DateTimeField(null=True, verbose_name="serving since")),
                ("retired_at", models.DateTimeField(null=True, verbose_name="retired")),
                ("cleared_at", models.DateTimeField(null=True, verbose_name="cleared away")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField()),
                        editable=False,
                        verbose_name="created",
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField()),
                        editable=False,
                        verbose_name="updated",
                    ),
                ),
            ],
            options={
                "verbose_name": "space of vectors",
                "verbose_name_plural": "spaces of vectors",
                "db_table": "search_spaces",
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status", "active")), fields=("status",), name="search_spaces_one_active"
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("status", "building")),
                        fields=("status",),
                        name="search_spaces_one_building",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["building", "active", "retired"])),
                        name="search_spaces_status_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("dimensions", 0), ("model", "")),
                            models.Q(
                                models.Q(("model", ""), _negated=True),
                                ("dimensions__gte", 1),
                                ("dimensions__lte", 4000),
                            ),
                            _connector="OR",
                        ),
                        name="search_spaces_dimensions",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Entry",
            fields=[
                (
                    "id",
                    models.UUIDField(
                        db_default=models.Func(function="uuidv7", output_field=models.UUIDField()),
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("entity_type", models.CharField(max_length=50, verbose_name="type")),
                ("entity_id", models.UUIDField(verbose_name="id of the source")),
                ("chunk", models.IntegerField(db_default=0, verbose_name="chunk")),
                ("content", models.TextField(verbose_name="content")),
                (
                    "content_hash",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Func(
                            models.Func("content", function="md5"), models.Value("hex"), function="decode"
                        ),
                        output_field=models.BinaryField(),
                        verbose_name="hash of the content",
                    ),
                ),
                ("embedding", pgvector.django.vector.VectorField(blank=True, null=True, verbose_name="vector")),
                (
                    "tsv",
                    models.GeneratedField(
                        db_persist=True,
                        expression=models.Func(
                            models.Func(
                                "content",
                                models.Value("ёЁ"),
                                models.Value("еЕ"),
                                function="translate",
                                output_field=models.TextField(),
                            ),
                            output_field=django.contrib.postgres.search.SearchVectorField(),
                            template="to_tsvector('russian'::regconfig, %(expressions)s)",
                        ),
                        output_field=django.contrib.postgres.search.SearchVectorField(),
                        verbose_name="words",
                    ),
                ),
                ("metadata", models.JSONField(blank=True, db_default={}, default=dict, verbose_name="metadata")),
                ("user_id", models.BigIntegerField(blank=True, null=True, verbose_name="user")),
                ("deleted", models.BooleanField(db_default=False, verbose_name="deleted")),
                (
                    "at",
                    models.DateTimeField(
                        db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField()),
                        verbose_name="time",
                    ),
                ),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField()),
                        editable=False,
                        verbose_name="created",
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField()),
                        editable=False,
                        verbose_name="updated",
                    ),
                ),
                (
                    "space",
                    models.ForeignKey(
                        db_column="space",
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        to="search.space",
                        verbose_name="space",
                    ),
                ),
            ],
            options={
                "verbose_name": "entry of the search index",
                "verbose_name_plural": "search index",
                "db_table": "search_index",
            },
        ),
        migrations.CreateModel(
            name="Unembedded",
            fields=[
                (
                    "entry",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        primary_key=True,
                        serialize=False,
                        to="search.entry",
                    ),
                ),
                (
                    "state",
                    models.CharField(
                        choices=[("waiting", "waiting"), ("failed", "refused")],
                        db_default="waiting",
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                ("attempts", models.IntegerField(db_default=0, verbose_name="attempts")),
                (
                    "due_at",
                    models.DateTimeField(
                        db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField()),
                        verbose_name="due",
                    ),
                ),
                ("error", models.TextField(blank=True, db_default="", verbose_name="error")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField()),
                        editable=False,
                        verbose_name="created",
                    ),
                ),
                (
                    "updated_at",
                    models.DateTimeField(
                        db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField()),
                        editable=False,
                        verbose_name="updated",
                    ),
                ),
                (
                    "space",
                    models.ForeignKey(
                        db_column="space",
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        to="search.space",
                    ),
                ),
            ],
            options={
                "verbose_name": "entry without a vector",
                "verbose_name_plural": "entries without a vector",
                "db_table": "search_unembedded",
            },
        ),
        migrations.AddIndex(
            model_name="entry",
            index=django.contrib.postgres.indexes.GinIndex(fields=["tsv"], name="search_index_words"),
        ),
        migrations.AddIndex(
            model_name="entry",
            index=django.contrib.postgres.indexes.GinIndex(
                django.contrib.postgres.indexes.OpClass("metadata", "jsonb_path_ops"), name="search_index_metadata"
            ),
        ),
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(fields=["user_id", "space"], name="search_index_user"),
        ),
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(
                models.F("space"), models.OrderBy(models.F("at"), descending=True), name="search_index_at"
            ),
        ),
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(fields=["space", "content_hash"], name="search_index_content"),
        ),
        migrations.AddConstraint(
            model_name="entry",
            constraint=models.UniqueConstraint(
                fields=("entity_type", "entity_id", "chunk", "space"), name="search_index_one_per_chunk"
            ),
        ),
        migrations.AddConstraint(
            model_name="entry",
            constraint=models.CheckConstraint(
                condition=models.Q(("chunk__gte", 0)), name="search_index_chunk_from_zero"
            ),
        ),
        migrations.AddConstraint(
            model_name="entry",
            constraint=models.CheckConstraint(
                condition=django.db.models.lookups.Exact(
                    models.Func("metadata", function="jsonb_typeof", output_field=models.TextField()),
                    models.Value("object"),
                ),
                name="search_index_metadata_object",
            ),
        ),
        migrations.AddConstraint(
            model_name="entry",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("embedding__isnull", True),
                    django.db.models.lookups.GreaterThan(
                        models.Func("embedding", function="vector_norm", output_field=models.FloatField()),
                        models.Value(0.0),
                    ),
                    _connector="OR",
                ),
                name="search_index_no_zero_vector",
            ),
        ),
        migrations.AddIndex(
            model_name="unembedded",
            index=models.Index(
                condition=models.Q(("state", "waiting")), fields=["space", "due_at"], name="search_unembedded_due"
            ),
        ),
        migrations.AddIndex(
            model_name="unembedded",
            index=models.Index(
                condition=models.Q(("state", "failed")), fields=["space"], name="search_unembedded_failed"
            ),
        ),
        migrations.AddConstraint(
            model_name="unembedded",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["waiting", "failed"])), name="search_unembedded_state_known"
            ),
        ),
    ]
