"""The tables of what was said, and the keys of those who may call."""

import django.contrib.postgres.fields
import django.db.models.deletion
import django.db.models.functions.text
import django.db.models.lookups
from django.db import migrations, models

import conversations.models.api_key


class Migration(migrations.Migration):
    initial = True

    dependencies = [("config", "0001_extensions")]

    operations = [
        migrations.CreateModel(
            name="ApiKey",
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
                ("name", models.CharField(max_length=100, verbose_name="name")),
                ("prefix", models.CharField(editable=False, max_length=8, unique=True, verbose_name="prefix")),
                ("hash", models.CharField(editable=False, max_length=64, verbose_name="hash")),
                ("user_id", models.BigIntegerField(blank=True, null=True, verbose_name="user")),
                (
                    "scopes",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(
                            choices=[
                                ("sessions", "open conversations"),
                                ("read", "read conversations, messages, turns and events"),
                                ("append", "append messages of any role"),
                                ("inbound", "send what the person says and types"),
                                ("clear", "clear a conversation"),
                                ("search", "search"),
                            ],
                            max_length=20,
                        ),
                        default=conversations.models.api_key.every_scope,
                        size=None,
                        verbose_name="scopes",
                    ),
                ),
                ("expires", models.DateTimeField(blank=True, null=True, verbose_name="expires")),
                ("last_used", models.DateTimeField(editable=False, null=True, verbose_name="last used")),
                ("revoked", models.DateTimeField(editable=False, null=True, verbose_name="revoked")),
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
                "verbose_name": "API key",
                "verbose_name_plural": "API keys",
                "db_table": "api_keys",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("scopes__contained_by", ["sessions", "read", "append", "inbound", "clear", "search"]),
                            ("scopes__len__gt", 0),
                        ),
                        name="api_keys_scopes_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("hash__regex", "^[0-9a-f]{64}$")), name="api_keys_only_a_hash"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("prefix__regex", "^[0-9a-z]{8}$")), name="api_keys_prefix_of_eight"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Conversation",
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
                ("user_id", models.BigIntegerField(verbose_name="user")),
                ("chat_id", models.BigIntegerField(blank=True, null=True, verbose_name="chat")),
                ("channel", models.CharField(db_default="api", default="api", max_length=50, verbose_name="channel")),
                ("agent_id", models.UUIDField(blank=True, null=True, verbose_name="agent")),
                (
                    "title",
                    models.CharField(blank=True, db_default="", default="", max_length=200, verbose_name="title"),
                ),
                (
                    "mode",
                    models.CharField(
                        choices=[("auto", "the agent answers"), ("manual", "staff answer"), ("closed", "closed")],
                        db_default="auto",
                        default="auto",
                        max_length=10,
                        verbose_name="mode",
                    ),
                ),
                ("interview_step", models.IntegerField(db_default=0, default=0, verbose_name="interview step")),
                (
                    "message_count",
                    models.BigIntegerField(db_default=0, default=0, editable=False, verbose_name="messages"),
                ),
                (
                    "deleted_count",
                    models.BigIntegerField(db_default=0, default=0, editable=False, verbose_name="deleted messages"),
                ),
                ("last_message_at", models.DateTimeField(editable=False, null=True, verbose_name="last message")),
                ("metadata", models.JSONField(blank=True, db_default={}, default=dict, verbose_name="metadata")),
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
                "verbose_name": "conversation",
                "verbose_name_plural": "conversations",
                "db_table": "conversations",
                "indexes": [
                    models.Index(
                        models.OrderBy(models.F("last_message_at"), descending=True, nulls_last=True),
                        models.OrderBy(models.F("id"), descending=True),
                        name="conversations_staff_list",
                    ),
                    models.Index(fields=["user_id"], name="conversations_user"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("chat_id__isnull", False), models.Q(("mode", "closed"), _negated=True)),
                        fields=("channel", "chat_id", "user_id"),
                        name="conversations_one_live_per_chat",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("mode__in", ["auto", "manual", "closed"])), name="conversations_mode_known"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("interview_step__gte", 0)), name="conversations_step_from_zero"
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.lookups.Exact(
                            models.Func("metadata", function="jsonb_typeof", output_field=models.TextField()),
                            models.Value("object"),
                        ),
                        name="conversations_metadata_object",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("deleted_count__gte", 0), ("deleted_count__lte", models.F("message_count"))
                        ),
                        name="conversations_counts",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Message",
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
                ("message_index", models.BigIntegerField(editable=False, verbose_name="index")),
                (
                    "role",
                    models.CharField(
                        choices=[("user", "person"), ("assistant", "agent"), ("system", "system"), ("tool", "tool")],
                        max_length=10,
                        verbose_name="role",
                    ),
                ),
                ("content", models.TextField(verbose_name="content")),
                (
                    "character_count",
                    models.GeneratedField(
                        db_persist=True,
                        expression=django.db.models.functions.text.Length("content"),
                        output_field=models.IntegerField(),
                        verbose_name="characters",
                    ),
                ),
                ("metadata", models.JSONField(blank=True, db_default={}, default=dict, verbose_name="metadata")),
                ("external_id", models.CharField(blank=True, max_length=255, null=True, verbose_name="external id")),
                ("inbound", models.BooleanField(db_default=False, default=False, verbose_name="inbound")),
                (
                    "author",
                    models.CharField(blank=True, db_default="", default="", max_length=150, verbose_name="author"),
                ),
                ("turn_id", models.UUIDField(blank=True, null=True, verbose_name="turn")),
                ("agent_version", models.IntegerField(blank=True, null=True, verbose_name="agent version")),
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
                ("deleted_at", models.DateTimeField(editable=False, null=True, verbose_name="deleted")),
                (
                    "conversation",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="messages",
                        to="conversations.conversation",
                    ),
                ),
            ],
            options={
                "verbose_name": "message",
                "verbose_name_plural": "messages",
                "db_table": "messages",
                "ordering": ["conversation", "message_index"],
                "constraints": [
                    models.UniqueConstraint(fields=("conversation", "message_index"), name="messages_one_per_index"),
                    models.UniqueConstraint(
                        condition=models.Q(("external_id__isnull", False)),
                        fields=("conversation", "external_id"),
                        name="messages_one_per_external_id",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("message_index__gte", 0)), name="messages_index_from_zero"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("role__in", ["user", "assistant", "system", "tool"])),
                        name="messages_role_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("external_id__isnull", True), models.Q(("external_id", ""), _negated=True), _connector="OR"
                        ),
                        name="messages_external_id_not_empty",
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.lookups.Exact(
                            models.Func("metadata", function="jsonb_typeof", output_field=models.TextField()),
                            models.Value("object"),
                        ),
                        name="messages_metadata_object",
                    ),
                ],
            },
        ),
    ]
