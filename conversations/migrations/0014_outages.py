"""The times in which a bot answered without the database."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("conversations", "0013_bots")]

    operations = [
        migrations.CreateModel(
            name="Outage",
            fields=[
                ("id", models.UUIDField(editable=False, primary_key=True, serialize=False, verbose_name="journal")),
                ("channel", models.CharField(max_length=50, verbose_name="channel")),
                ("account", models.CharField(max_length=100, verbose_name="account")),
                ("began_at", models.DateTimeField(verbose_name="began")),
                ("ended_at", models.DateTimeField(verbose_name="ended")),
                ("updates", models.IntegerField(verbose_name="updates")),
                ("answers", models.IntegerField(verbose_name="answers")),
                ("rejected", models.IntegerField(verbose_name="rejected")),
                ("damaged", models.IntegerField(verbose_name="unreadable")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField()),
                        editable=False,
                        verbose_name="stored",
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
                "verbose_name": "outage",
                "verbose_name_plural": "outages",
                "db_table": "outages",
                "indexes": [models.Index(fields=["-ended_at"], name="outages_latest")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("ended_at__gte", models.F("began_at"))), name="outages_end_after_they_began"
                    )
                ],
            },
        ),
    ]
