"""The tables of entities/schema/ as they began."""

import django.db.models.deletion
import django.db.models.lookups
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("config", "0001_extensions"),
    ]

    operations = [
        migrations.CreateModel(
            name="Project",
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
                    "is_deleted",
                    models.BooleanField(db_default=False, default=False, editable=False, verbose_name="deleted"),
                ),
                ("created_by", models.BigIntegerField(blank=True, db_index=True, null=True, verbose_name="user")),
                ("name", models.CharField(max_length=200, verbose_name="name")),
                ("description", models.TextField(blank=True, null=True, verbose_name="description")),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("planned", "planned"),
                            ("active", "active"),
                            ("done", "done"),
                            ("dropped", "dropped"),
                        ],
                        db_default="active",
                        default="active",
                        max_length=20,
                        verbose_name="status",
                    ),
                ),
                ("deadline", models.DateField(blank=True, null=True, verbose_name="deadline")),
            ],
            options={
                "verbose_name": "project",
                "verbose_name_plural": "projects",
                "db_table": "projects",
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("name", ""), _negated=True), name="projects_named"),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["planned", "active", "done", "dropped"])),
                        name="projects_status_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Character",
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
                    "is_deleted",
                    models.BooleanField(db_default=False, default=False, editable=False, verbose_name="deleted"),
                ),
                ("created_by", models.BigIntegerField(blank=True, db_index=True, null=True, verbose_name="user")),
                ("name", models.CharField(max_length=200, verbose_name="name")),
                ("role", models.CharField(blank=True, max_length=100, null=True, verbose_name="role")),
                ("age", models.PositiveIntegerField(blank=True, null=True, verbose_name="age")),
                ("backstory", models.TextField(blank=True, null=True, verbose_name="backstory")),
                ("traits", models.JSONField(blank=True, db_default=[], default=list, verbose_name="traits")),
                (
                    "project",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="characters",
                        to="entities.project",
                        verbose_name="project",
                    ),
                ),
            ],
            options={
                "verbose_name": "character",
                "verbose_name_plural": "characters",
                "db_table": "characters",
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("name", ""), _negated=True), name="characters_named"),
                    models.CheckConstraint(
                        condition=django.db.models.lookups.Exact(
                            models.Func("traits", function="jsonb_typeof", output_field=models.TextField()),
                            models.Value("array"),
                        ),
                        name="characters_traits_list",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Idea",
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
                    "is_deleted",
                    models.BooleanField(db_default=False, default=False, editable=False, verbose_name="deleted"),
                ),
                ("created_by", models.BigIntegerField(blank=True, db_index=True, null=True, verbose_name="user")),
                ("title", models.CharField(max_length=200, verbose_name="title")),
                ("text", models.TextField(blank=True, null=True, verbose_name="text")),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("new", "new"),
                            ("kept", "kept for later"),
                            ("used", "used"),
                            ("rejected", "rejected"),
                        ],
                        db_default="new",
                        default="new",
                        max_length=20,
                        verbose_name="status",
                    ),
                ),
                ("tags", models.JSONField(blank=True, db_default=[], default=list, verbose_name="tags")),
                (
                    "project",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="ideas",
                        to="entities.project",
                        verbose_name="project",
                    ),
                ),
            ],
            options={
                "verbose_name": "idea",
                "verbose_name_plural": "ideas",
                "db_table": "ideas",
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("title", ""), _negated=True), name="ideas_named"),
                    models.CheckConstraint(
                        condition=models.Q(("status__in", ["new", "kept", "used", "rejected"])),
                        name="ideas_status_known",
                    ),
                    models.CheckConstraint(
                        condition=django.db.models.lookups.Exact(
                            models.Func("tags", function="jsonb_typeof", output_field=models.TextField()),
                            models.Value("array"),
                        ),
                        name="ideas_tags_list",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Note",
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
                    "is_deleted",
                    models.BooleanField(db_default=False, default=False, editable=False, verbose_name="deleted"),
                ),
                ("created_by", models.BigIntegerField(blank=True, db_index=True, null=True, verbose_name="user")),
                ("title", models.CharField(max_length=200, verbose_name="title")),
                ("text", models.TextField(blank=True, null=True, verbose_name="text")),
                ("tags", models.JSONField(blank=True, db_default=[], default=list, verbose_name="tags")),
                (
                    "project",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="notes",
                        to="entities.project",
                        verbose_name="project",
                    ),
                ),
                (
                    "character",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="notes",
                        to="entities.character",
                        verbose_name="character",
                    ),
                ),
                (
                    "idea",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="notes",
                        to="entities.idea",
                        verbose_name="idea",
                    ),
                ),
                ("conversation_id", models.UUIDField(blank=True, null=True, verbose_name="conversation")),
                ("turn_id", models.UUIDField(blank=True, null=True, verbose_name="turn")),
                ("message_id", models.UUIDField(blank=True, null=True, verbose_name="message")),
            ],
            options={
                "verbose_name": "note",
                "verbose_name_plural": "notes",
                "db_table": "notes",
                "indexes": [models.Index(fields=["conversation_id"], name="notes_of_conversation")],
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("title", ""), _negated=True), name="notes_named"),
                    models.CheckConstraint(
                        condition=django.db.models.lookups.Exact(
                            models.Func("tags", function="jsonb_typeof", output_field=models.TextField()),
                            models.Value("array"),
                        ),
                        name="notes_tags_list",
                    ),
                ],
            },
        ),
    ]
