"""Changes of the tables that the mechanic makes; an agent may add a proposal and read none."""

import django.db.models.lookups
from django.db import migrations, models

from config.rls import Protect


class Migration(migrations.Migration):
    dependencies = [
        ("entities", "0011_backups"),
    ]

    operations = [
        migrations.CreateModel(
            name="SchemaChange",
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
                ("title", models.CharField(max_length=100, verbose_name="title")),
                ("document", models.JSONField(verbose_name="document")),
                (
                    "origin",
                    models.CharField(
                        choices=[("file", "file"), ("form", "form"), ("agent", "agent")],
                        max_length=10,
                        verbose_name="asked by",
                    ),
                ),
                ("proposed_by", models.CharField(max_length=100, verbose_name="by")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("proposed", "proposed"),
                            ("planned", "planned"),
                            ("rehearsed", "rehearsed"),
                            ("approved", "approved"),
                            ("applying", "being applied"),
                            ("applied", "applied"),
                            ("failed", "failed"),
                            ("rejected", "rejected"),
                            ("reverted", "hidden"),
                        ],
                        db_default="proposed",
                        max_length=10,
                        verbose_name="state",
                    ),
                ),
                ("files", models.JSONField(db_default={}, default=dict, verbose_name="files")),
                ("diff", models.TextField(db_default="", default="", verbose_name="difference")),
                ("sql", models.TextField(db_default="", default="", verbose_name="SQL")),
                ("rehearsal", models.JSONField(db_default={}, default=dict, verbose_name="rehearsal")),
                (
                    "approved_by",
                    models.CharField(db_default="", default="", max_length=100, verbose_name="approved by"),
                ),
                ("step", models.CharField(db_default="", default="", max_length=50, verbose_name="step")),
                ("error", models.TextField(db_default="", default="", verbose_name="error")),
                ("notes", models.TextField(db_default="", default="", verbose_name="remarks")),
                ("generation", models.BigIntegerField(null=True, verbose_name="generation")),
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
                ("applied_at", models.DateTimeField(null=True, verbose_name="applied")),
            ],
            options={
                "verbose_name": "schema change",
                "verbose_name_plural": "schema changes",
                "db_table": "schema_changes",
                "permissions": [("approve_schemachange", "Can approve and apply changes of the tables")],
                "indexes": [models.Index(fields=["state", "-id"], name="schema_changes_state")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "state__in",
                                [
                                    "proposed",
                                    "planned",
                                    "rehearsed",
                                    "approved",
                                    "applying",
                                    "applied",
                                    "failed",
                                    "rejected",
                                    "reverted",
                                ],
                            )
                        ),
                        name="schema_changes_state_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("origin__in", ["file", "form", "agent"])),
                        name="schema_changes_origin_known",
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.lookups.Exact(
                            models.Func("document", function="jsonb_typeof", output_field=models.TextField()),
                            models.Value("object"),
                        ),
                        name="schema_changes_document_object",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state__in", ["approved", "applying", "applied", "reverted"]), _negated=True),
                            models.Q(("approved_by", ""), _negated=True),
                            _connector="OR",
                        ),
                        name="schema_changes_somebody_approved",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("state__in", ["applied", "reverted"]), _negated=True),
                            ("generation__isnull", False),
                            _connector="OR",
                        ),
                        name="schema_changes_applied_has_generation",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("state", "applying")), fields=("state",), name="schema_changes_one_applies"
                    ),
                ],
            },
        ),
        # The generation of the code: a number per applied change.
        migrations.RunSQL("CREATE SEQUENCE schema_generations", "DROP SEQUENCE schema_generations"),
        Protect("schema_changes", mine="origin = 'agent' AND state = 'proposed'", rights="INSERT"),
    ]
