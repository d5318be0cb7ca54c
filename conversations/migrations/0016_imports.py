"""The tables of imports: batches, the chats they read, what each brought where, and what was not stored."""

import django.db.models.deletion
import django.db.models.expressions
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0014_outages"),
    ]

    operations = [
        migrations.AddField(
            model_name="message",
            name="import_id",
            field=models.UUIDField(blank=True, editable=False, null=True, verbose_name="import"),
        ),
        migrations.CreateModel(
            name="ImportBatch",
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
                ("kind", models.CharField(max_length=30, verbose_name="format")),
                ("source", models.TextField(verbose_name="source")),
                ("origin", models.TextField(verbose_name="read from")),
                ("options", models.JSONField(db_default={}, default=dict, verbose_name="options")),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("running", "running"),
                            ("failed", "stopped by an error"),
                            ("done", "done"),
                            ("differs", "done, but not equal to the source"),
                            ("undoing", "being undone"),
                            ("undone", "undone"),
                        ],
                        db_default="running",
                        default="running",
                        max_length=10,
                        verbose_name="status",
                    ),
                ),
                ("generation", models.IntegerField(db_default=0, default=0)),
                ("position", models.JSONField(null=True, verbose_name="position")),
                ("read", models.BigIntegerField(db_default=0, default=0, verbose_name="read")),
                ("brought", models.BigIntegerField(db_default=0, default=0, verbose_name="brought")),
                ("known", models.BigIntegerField(db_default=0, default=0, verbose_name="known before")),
                ("rejected", models.BigIntegerField(db_default=0, default=0, verbose_name="rejected")),
                ("report", models.JSONField(db_default={}, default=dict, verbose_name="report")),
                ("started_by", models.CharField(db_default="", default="", max_length=100, verbose_name="started by")),
                ("error", models.TextField(blank=True, db_default="", default="", verbose_name="error")),
                ("finished_at", models.DateTimeField(null=True, verbose_name="finished")),
                (
                    "undone_by",
                    models.CharField(blank=True, db_default="", default="", max_length=100, verbose_name="undone by"),
                ),
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
                        verbose_name="last step",
                    ),
                ),
            ],
            options={
                "verbose_name": "import",
                "verbose_name_plural": "imports",
                "db_table": "imports",
                "indexes": [models.Index(fields=["-created_at"], name="imports_latest")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("status__in", ["running", "failed", "done", "differs", "undoing", "undone"])
                        ),
                        name="imports_status_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "read",
                                django.db.models.expressions.CombinedExpression(
                                    django.db.models.expressions.CombinedExpression(
                                        models.F("brought"), "+", models.F("known")
                                    ),
                                    "+",
                                    models.F("rejected"),
                                ),
                            )
                        ),
                        name="imports_account_for_all",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("status__in", ["running", "failed"])),
                        fields=("source",),
                        name="imports_one_open_per_source",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="ImportChat",
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
                ("source", models.TextField(verbose_name="source")),
                ("key", models.TextField(verbose_name="key")),
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
                    "conversation",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="conversations.conversation",
                    ),
                ),
            ],
            options={
                "verbose_name": "imported chat",
                "verbose_name_plural": "imported chats",
                "db_table": "import_chats",
            },
        ),
        migrations.CreateModel(
            name="ImportReject",
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
                ("place", models.CharField(max_length=200, verbose_name="place in the source")),
                (
                    "reason",
                    models.CharField(
                        choices=[
                            ("role", "unknown role"),
                            ("content", "no text"),
                            ("not_a_message", "not a message"),
                            ("not_a_list", "not a list of messages"),
                            ("broken_json", "broken JSON"),
                            ("duplicate_id", "id taken by another message"),
                            ("changed", "changed in the source since it was imported"),
                            ("too_large", "too large"),
                            ("branch", "off the branch that was shown"),
                        ],
                        max_length=20,
                        verbose_name="reason",
                    ),
                ),
                ("detail", models.TextField(blank=True, db_default="", default="", verbose_name="detail")),
                ("payload", models.TextField(blank=True, db_default="", default="", verbose_name="what was read")),
                ("whole", models.BooleanField(db_default=True, default=True, verbose_name="kept whole")),
                (
                    "state",
                    models.CharField(
                        choices=[("open", "open"), ("stored", "stored since"), ("dismissed", "dismissed")],
                        db_default="open",
                        default="open",
                        max_length=10,
                        verbose_name="state",
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
                    "batch",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="rejects",
                        to="conversations.importbatch",
                        verbose_name="import",
                    ),
                ),
                (
                    "chat",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="rejects",
                        to="conversations.importchat",
                    ),
                ),
            ],
            options={
                "verbose_name": "reject of an import",
                "verbose_name_plural": "rejects of imports",
                "db_table": "import_rejects",
            },
        ),
        migrations.CreateModel(
            name="ImportShare",
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
                (
                    "opened",
                    models.BooleanField(db_default=False, default=False, verbose_name="opened the conversation"),
                ),
                ("messages", models.BigIntegerField(db_default=0, default=0, verbose_name="messages")),
                (
                    "checksum",
                    models.DecimalField(
                        db_default=0, decimal_places=0, default=0, max_digits=40, verbose_name="checksum"
                    ),
                ),
                ("first_index", models.BigIntegerField(null=True, verbose_name="first")),
                ("last_index", models.BigIntegerField(null=True, verbose_name="last")),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("written", "not compared yet"),
                            ("equal", "equal"),
                            ("differs", "differs"),
                            ("undone", "undone"),
                        ],
                        db_default="written",
                        default="written",
                        max_length=10,
                        verbose_name="compared",
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
                    "batch",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="shares",
                        to="conversations.importbatch",
                    ),
                ),
                (
                    "conversation",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="conversations.conversation",
                    ),
                ),
            ],
            options={
                "verbose_name": "share of an import",
                "verbose_name_plural": "shares of imports",
                "db_table": "import_shares",
            },
        ),
        migrations.AddIndex(
            model_name="importchat",
            index=models.Index(fields=["conversation"], name="import_chats_conversation"),
        ),
        migrations.AddConstraint(
            model_name="importchat",
            constraint=models.UniqueConstraint(fields=("source", "key"), name="import_chats_one_per_key"),
        ),
        migrations.AddIndex(
            model_name="importreject",
            index=models.Index(fields=["batch", "state", "id"], name="import_rejects_to_do"),
        ),
        migrations.AddIndex(
            model_name="importreject",
            index=models.Index(fields=["chat"], name="import_rejects_chat"),
        ),
        migrations.AddConstraint(
            model_name="importreject",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "reason__in",
                        [
                            "role",
                            "content",
                            "not_a_message",
                            "not_a_list",
                            "broken_json",
                            "duplicate_id",
                            "changed",
                            "too_large",
                            "branch",
                        ],
                    )
                ),
                name="import_rejects_reason_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="importreject",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["open", "stored", "dismissed"])), name="import_rejects_state_known"
            ),
        ),
        migrations.AddIndex(
            model_name="importshare",
            index=models.Index(fields=["batch", "state", "id"], name="import_shares_to_do"),
        ),
        migrations.AddIndex(
            model_name="importshare",
            index=models.Index(fields=["conversation"], name="import_shares_conversation"),
        ),
        migrations.AddConstraint(
            model_name="importshare",
            constraint=models.UniqueConstraint(
                fields=("batch", "conversation"), name="import_shares_one_per_conversation"
            ),
        ),
        migrations.AddConstraint(
            model_name="importshare",
            constraint=models.CheckConstraint(
                condition=models.Q(("state__in", ["written", "equal", "differs", "undone"])),
                name="import_shares_state_known",
            ),
        ),
        migrations.AddConstraint(
            model_name="importshare",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("messages", 0),
                    (
                        "messages__lte",
                        django.db.models.expressions.CombinedExpression(
                            django.db.models.expressions.CombinedExpression(
                                models.F("last_index"), "-", models.F("first_index")
                            ),
                            "+",
                            models.Value(1),
                        ),
                    ),
                    _connector="OR",
                ),
                name="import_shares_range",
            ),
        ),
    ]
