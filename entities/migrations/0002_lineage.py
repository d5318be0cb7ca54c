"""Where every value comes from: a row per value that was written."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("entities", "0001_tables"),
    ]

    operations = [
        migrations.CreateModel(
            name="EntityChange",
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
                ("entity_type", models.CharField(max_length=50, verbose_name="kind")),
                ("entity_id", models.UUIDField(verbose_name="row")),
                ("field", models.CharField(max_length=63, verbose_name="field")),
                ("previous", models.JSONField(verbose_name="before")),
                ("value", models.JSONField(verbose_name="after")),
                (
                    "action",
                    models.CharField(
                        choices=[("create", "created"), ("change", "changed")], max_length=10, verbose_name="action"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("staff", "staff"),
                            ("agent", "agent"),
                            ("import", "import"),
                            ("system", "system"),
                            ("sql", "SQL client"),
                        ],
                        max_length=10,
                        verbose_name="writer",
                    ),
                ),
                ("actor", models.CharField(max_length=150, verbose_name="who")),
                ("user_id", models.BigIntegerField(null=True, verbose_name="user")),
                ("agent_version", models.IntegerField(null=True, verbose_name="agent version")),
                ("conversation_id", models.UUIDField(null=True, verbose_name="conversation")),
                ("turn_id", models.UUIDField(null=True, verbose_name="turn")),
                ("message_id", models.UUIDField(null=True, verbose_name="message")),
                ("reverts", models.UUIDField(null=True, verbose_name="takes back")),
                ("erased", models.BooleanField(db_default=False, default=False, verbose_name="erased")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField()),
                        editable=False,
                        verbose_name="time",
                    ),
                ),
            ],
            options={
                "verbose_name": "change of a value",
                "verbose_name_plural": "changes of values",
                "db_table": "entity_changes",
                "indexes": [
                    models.Index(fields=["entity_type", "entity_id", "-id"], name="entity_changes_of_row"),
                    models.Index(
                        condition=models.Q(("conversation_id__isnull", False)),
                        fields=["conversation_id"],
                        name="entity_changes_said",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("action__in", ["create", "change"])), name="entity_changes_action_known"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["staff", "agent", "import", "system", "sql"])),
                        name="entity_changes_writer_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("actor", ""), _negated=True), name="entity_changes_somebody_did_it"
                    ),
                ],
            },
        ),
    ]
