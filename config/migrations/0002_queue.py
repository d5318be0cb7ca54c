"""The queue: tasks that wait or run, the workers, what they did by the minute, and the periodic slots."""

import django.db.models.functions.comparison
import django.db.models.functions.datetime
import django.db.models.functions.text
import django.db.models.lookups
from django.db import migrations, models

# Rows here live for seconds: vacuum early and without pauses, and leave room in the page for the claim's update.
HOT_TABLE = """
ALTER TABLE queue_tasks SET (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, autovacuum_vacuum_cost_delay = 0,
    autovacuum_analyze_scale_factor = 0.1, autovacuum_analyze_threshold = 1000
);
ALTER TABLE queue_minutes SET (fillfactor = 70);
ALTER TABLE queue_workers SET (fillfactor = 70);
"""
PLAIN_TABLE = """
ALTER TABLE queue_tasks RESET (
    fillfactor,
    autovacuum_vacuum_scale_factor, autovacuum_vacuum_threshold, autovacuum_vacuum_cost_delay,
    autovacuum_analyze_scale_factor, autovacuum_analyze_threshold
);
ALTER TABLE queue_minutes RESET (fillfactor);
ALTER TABLE queue_workers RESET (fillfactor);
"""


class Migration(migrations.Migration):
    dependencies = [
        ("config", "0001_extensions"),
    ]

    operations = [
        migrations.CreateModel(
            name="QueuePeriod",
            fields=[
                ("name", models.TextField(primary_key=True, serialize=False, verbose_name="task")),
                ("slot", models.BigIntegerField(verbose_name="slot")),
            ],
            options={
                "verbose_name": "period of the queue",
                "verbose_name_plural": "periods of the queue",
                "db_table": "queue_periods",
            },
        ),
        migrations.CreateModel(
            name="QueuedTask",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.TextField(verbose_name="task")),
                ("args", models.TextField(help_text="A JSON array.", verbose_name="arguments")),
                (
                    "key",
                    models.TextField(
                        help_text="While one waits, another of this name and key is not added.",
                        null=True,
                        verbose_name="key",
                    ),
                ),
                (
                    "state",
                    models.TextField(
                        choices=[
                            ("waiting", "waiting"),
                            ("leased", "running"),
                            ("dead", "given up"),
                            ("quarantined", "quarantined"),
                        ],
                        db_default="waiting",
                        verbose_name="state",
                    ),
                ),
                (
                    "due_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), verbose_name="due"),
                ),
                ("lease_until", models.DateTimeField(null=True, verbose_name="leased until")),
                ("started_at", models.DateTimeField(null=True, verbose_name="started")),
                ("attempts", models.SmallIntegerField(db_default=0, verbose_name="attempts")),
                ("max_attempts", models.SmallIntegerField(db_default=5, verbose_name="attempts allowed")),
                ("timeout", models.SmallIntegerField(db_default=60, verbose_name="seconds allowed")),
                ("generation", models.BigIntegerField(db_default=0, verbose_name="generation")),
                ("worker_id", models.BigIntegerField(null=True, verbose_name="worker")),
                ("pid", models.IntegerField(null=True, verbose_name="process")),
                ("error", models.TextField(db_default="", verbose_name="reason")),
                ("request_id", models.TextField(db_default="", verbose_name="request")),
                ("key_id", models.TextField(verbose_name="signing key")),
                ("signature", models.TextField(verbose_name="signature")),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), verbose_name="created"),
                ),
            ],
            options={
                "verbose_name": "queued task",
                "verbose_name_plural": "queue",
                "db_table": "queue_tasks",
                "indexes": [
                    models.Index(
                        django.db.models.functions.comparison.Coalesce("lease_until", "due_at"),
                        models.F("id"),
                        condition=models.Q(("state__in", ["waiting", "leased"])),
                        name="queue_tasks_next",
                    ),
                    models.Index(
                        condition=models.Q(("state", "leased")), fields=["worker_id"], name="queue_tasks_held"
                    ),
                    models.Index(
                        condition=models.Q(("state__in", ["waiting", "leased"]), _negated=True),
                        fields=["state", "-id"],
                        name="queue_tasks_given_up",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("state__in", ["waiting", "leased", "dead", "quarantined"])),
                        name="queue_tasks_state",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("lease_until__isnull", False), ("state", "leased")),
                            models.Q(models.Q(("state", "leased"), _negated=True), ("lease_until", None)),
                            _connector="OR",
                        ),
                        name="queue_tasks_lease",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("state__in", ["waiting", "leased"]),
                            models.Q(("error", ""), _negated=True),
                            _connector="OR",
                        ),
                        name="queue_tasks_reason",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("name__regex", "^[a-z][a-z0-9_.]{0,99}$")), name="queue_tasks_name"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            django.db.models.lookups.LessThanOrEqual(
                                django.db.models.functions.text.Length("args"), 2048
                            ),
                            models.Q(
                                ("key", None),
                                django.db.models.lookups.LessThanOrEqual(
                                    django.db.models.functions.text.Length("key"), 300
                                ),
                                _connector="OR",
                            ),
                        ),
                        name="queue_tasks_small",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("attempts__gte", 0), ("max_attempts__range", (1, 100)), ("timeout__range", (1, 3600))
                        ),
                        name="queue_tasks_bounds",
                    ),
                    models.UniqueConstraint(
                        condition=models.Q(("key__isnull", False), ("state", "waiting")),
                        fields=("name", "key"),
                        name="queue_tasks_one_waits",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="QueueMinute",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("minute", models.DateTimeField(verbose_name="minute")),
                ("worker_id", models.BigIntegerField(verbose_name="worker")),
                ("pid", models.IntegerField(verbose_name="process")),
                ("name", models.TextField(verbose_name="task")),
                ("done", models.IntegerField(db_default=0, verbose_name="done")),
                ("failed", models.IntegerField(db_default=0, verbose_name="failed")),
                ("busy_ms", models.BigIntegerField(db_default=0, verbose_name="time spent, ms")),
                ("late_ms", models.BigIntegerField(db_default=0, verbose_name="started late by, ms, in all")),
                ("latest_ms", models.BigIntegerField(db_default=0, verbose_name="latest start, ms")),
            ],
            options={
                "verbose_name": "minute of the queue",
                "verbose_name_plural": "minutes of the queue",
                "db_table": "queue_minutes",
                "constraints": [
                    models.UniqueConstraint(fields=("minute", "worker_id", "pid", "name"), name="queue_minutes_one_row")
                ],
            },
        ),
        migrations.CreateModel(
            name="QueueWorker",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("host", models.TextField(verbose_name="host")),
                ("pid", models.IntegerField(verbose_name="supervisor")),
                ("processes", models.SmallIntegerField(verbose_name="processes")),
                (
                    "started_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), verbose_name="started"),
                ),
                (
                    "beat_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), verbose_name="heartbeat"
                    ),
                ),
                ("stopped_at", models.DateTimeField(null=True, verbose_name="stopped")),
                ("restarts", models.IntegerField(db_default=0, verbose_name="restarts")),
                ("trouble", models.TextField(db_default="", verbose_name="last trouble")),
                ("clock_skew_ms", models.IntegerField(db_default=0, verbose_name="clock skew, ms")),
            ],
            options={
                "verbose_name": "queue worker",
                "verbose_name_plural": "queue workers",
                "db_table": "queue_workers",
                "indexes": [models.Index(fields=["-beat_at"], name="queue_workers_beat")],
            },
        ),
        migrations.RunSQL(HOT_TABLE, PLAIN_TABLE),
    ]
