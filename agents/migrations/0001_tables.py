"""The tables of who answers and of what was done."""

import django.db.models.deletion
import django.db.models.lookups
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [("config", "0001_extensions")]

    operations = [
        migrations.CreateModel(
            name="AuditLink",
            fields=[
                ("seq", models.BigIntegerField(primary_key=True, serialize=False, verbose_name="number")),
                ("entry_id", models.UUIDField(unique=True, verbose_name="entry")),
                ("hash", models.CharField(max_length=64, verbose_name="hash")),
            ],
            options={
                "verbose_name": "link of the audit chain",
                "verbose_name_plural": "audit chain",
                "db_table": "audit_chain",
            },
        ),
        migrations.CreateModel(
            name="Agent",
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
                ("name", models.CharField(max_length=100, unique=True, verbose_name="name")),
                ("description", models.TextField(blank=True, db_default="", default="", verbose_name="description")),
                (
                    "kind",
                    models.CharField(
                        choices=[("interview", "interview"), ("chat", "chat")],
                        db_default="chat",
                        default="chat",
                        max_length=10,
                        verbose_name="kind",
                    ),
                ),
                ("config_path", models.TextField(unique=True, verbose_name="config file")),
                (
                    "is_active",
                    models.BooleanField(db_default=True, default=True, verbose_name="takes new conversations"),
                ),
                ("version", models.IntegerField(db_default=1, default=1, editable=False, verbose_name="versions")),
                ("active_version", models.IntegerField(editable=False, null=True, verbose_name="active version")),
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
                    "created_by",
                    models.TextField(db_default="system", default="system", editable=False, verbose_name="created by"),
                ),
            ],
            options={
                "verbose_name": "agent",
                "verbose_name_plural": "agents",
                "db_table": "agents",
                "ordering": ["name"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("name__regex", "^[a-z][a-z0-9_-]{0,99}$")), name="agents_name_plain"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("config_path__regex", "^[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*\\.toml$")
                        ),
                        name="agents_config_path_inside",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("kind__in", ["interview", "chat"])), name="agents_kind_known"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("version__gte", 1),
                            models.Q(
                                ("active_version__isnull", True),
                                ("active_version__lte", models.F("version")),
                                _connector="OR",
                            ),
                        ),
                        name="agents_versions_counted",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="AuditEntry",
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
                ("action", models.CharField(max_length=50, verbose_name="action")),
                ("actor", models.CharField(max_length=100, verbose_name="actor")),
                (
                    "on_behalf_of",
                    models.CharField(
                        blank=True, db_default="", default="", max_length=100, verbose_name="on behalf of"
                    ),
                ),
                (
                    "subject_type",
                    models.CharField(
                        blank=True, db_default="", default="", max_length=50, verbose_name="kind of subject"
                    ),
                ),
                (
                    "subject_id",
                    models.CharField(blank=True, db_default="", default="", max_length=200, verbose_name="subject"),
                ),
                ("details", models.JSONField(db_default={}, default=dict, verbose_name="details")),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("success", "done"),
                            ("started", "started"),
                            ("failure", "failed"),
                            ("refused", "refused"),
                        ],
                        db_default="success",
                        max_length=20,
                        verbose_name="status",
                    ),
                ),
                ("git_commit", models.CharField(max_length=40, null=True, verbose_name="commit")),
                ("git_branch", models.CharField(max_length=100, null=True, verbose_name="branch")),
                (
                    "request_id",
                    models.CharField(blank=True, db_default="", default="", max_length=64, verbose_name="request"),
                ),
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
                "verbose_name": "audit entry",
                "verbose_name_plural": "audit log",
                "db_table": "audit_log",
                "indexes": [
                    models.Index(fields=["action", "-id"], name="audit_log_action"),
                    models.Index(fields=["actor", "-id"], name="audit_log_actor"),
                    models.Index(fields=["subject_type", "subject_id", "-id"], name="audit_log_subject"),
                    models.Index(fields=["created_at"], name="audit_log_time"),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["success", "started", "failure", "refused"])),
                        name="audit_log_status_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("action__regex", "^[a-z][a-z0-9_]*(\\.[a-z][a-z0-9_]*)*$")),
                        name="audit_log_action_plain",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("actor", ""), _negated=True), name="audit_log_somebody_did_it"
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.lookups.Exact(
                            models.Func("details", function="jsonb_typeof", output_field=models.TextField()),
                            models.Value("object"),
                        ),
                        name="audit_log_details_object",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("git_commit__isnull", True), ("git_commit__regex", "^[0-9a-f]{7,40}$"), _connector="OR"
                        ),
                        name="audit_log_commit_is_one",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="AgentVersion",
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
                ("version", models.IntegerField(verbose_name="version")),
                ("config", models.JSONField(verbose_name="configuration")),
                (
                    "origin",
                    models.CharField(
                        choices=[("file", "config file"), ("staff", "staff")],
                        db_default="staff",
                        max_length=10,
                        verbose_name="origin",
                    ),
                ),
                ("created_by", models.TextField(verbose_name="created by")),
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
                    "agent",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="versions",
                        to="agents.agent",
                    ),
                ),
            ],
            options={
                "verbose_name": "version of an agent",
                "verbose_name_plural": "versions of agents",
                "db_table": "agent_versions",
                "constraints": [
                    models.UniqueConstraint(fields=("agent", "version"), name="agent_versions_one_per_number"),
                    models.CheckConstraint(condition=models.Q(("version__gte", 1)), name="agent_versions_from_one"),
                    models.CheckConstraint(
                        condition=models.Q(("origin__in", ["file", "staff"])), name="agent_versions_origin_known"
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.lookups.Exact(
                            models.Func("config", function="jsonb_typeof", output_field=models.TextField()),
                            models.Value("object"),
                        ),
                        name="agent_versions_config_object",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Tool",
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
                ("name", models.CharField(max_length=100, unique=True, verbose_name="name")),
                ("description", models.TextField(blank=True, db_default="", default="", verbose_name="description")),
                ("module_path", models.TextField(verbose_name="module")),
                ("schema", models.JSONField(db_default={}, default=dict, verbose_name="arguments, as JSON Schema")),
                (
                    "high_impact",
                    models.BooleanField(db_default=False, default=False, verbose_name="needs the approval of staff"),
                ),
                ("is_active", models.BooleanField(db_default=True, default=True, verbose_name="may be called")),
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
                    "agent",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="own_tools",
                        to="agents.agent",
                        verbose_name="only for the agent",
                    ),
                ),
            ],
            options={
                "verbose_name": "tool",
                "verbose_name_plural": "tools",
                "db_table": "tools",
                "ordering": ["name"],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("name__regex", "^[a-z][a-z0-9_]{0,63}$")), name="tools_name_plain"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("module_path__regex", "^[a-z][a-z0-9_]*(\\.[a-z][a-z0-9_]*)+$")),
                        name="tools_module_path_plain",
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.lookups.Exact(
                            models.Func("schema", function="jsonb_typeof", output_field=models.TextField()),
                            models.Value("object"),
                        ),
                        name="tools_schema_object",
                    ),
                ],
            },
        ),
    ]
