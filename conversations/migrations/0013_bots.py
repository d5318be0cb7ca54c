"""Which bots run, and when they gave their last sign."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("conversations", "0012_channel_updates")]

    operations = [
        migrations.CreateModel(
            name="Bot",
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
                ("channel", models.CharField(max_length=50, verbose_name="channel")),
                ("account", models.CharField(max_length=100, verbose_name="account")),
                ("host", models.TextField(verbose_name="host")),
                ("pid", models.IntegerField(verbose_name="process")),
                (
                    "started_at",
                    models.DateTimeField(
                        db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField()),
                        verbose_name="started",
                    ),
                ),
                (
                    "beat_at",
                    models.DateTimeField(
                        db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField()),
                        verbose_name="heartbeat",
                    ),
                ),
                ("stopped_at", models.DateTimeField(null=True, verbose_name="stopped")),
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
                "verbose_name": "bot",
                "verbose_name_plural": "bots",
                "db_table": "bots",
                "constraints": [models.UniqueConstraint(fields=("channel", "account"), name="bots_one_per_account")],
            },
        ),
    ]
