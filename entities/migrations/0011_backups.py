"""Which backups were taken, and when."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("entities", "0010_guard"),
    ]

    operations = [
        migrations.CreateModel(
            name="Backup",
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
                ("reason", models.CharField(max_length=50, verbose_name="reason")),
                ("made_by", models.CharField(max_length=100, verbose_name="by")),
                ("host", models.CharField(max_length=100, verbose_name="machine")),
                ("place", models.TextField(verbose_name="folder")),
                ("size", models.BigIntegerField(verbose_name="bytes")),
                ("rows", models.BigIntegerField(verbose_name="rows")),
                ("sha256", models.CharField(max_length=64, verbose_name="checksum")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField()),
                        editable=False,
                        verbose_name="taken",
                    ),
                ),
                ("verified_at", models.DateTimeField(blank=True, null=True, verbose_name="restored and verified")),
                ("removed_at", models.DateTimeField(blank=True, null=True, verbose_name="removed")),
            ],
            options={
                "verbose_name": "backup",
                "verbose_name_plural": "backups",
                "db_table": "backups",
                "indexes": [models.Index(fields=["-created_at"], name="backups_newest")],
                "constraints": [
                    models.UniqueConstraint(fields=("name", "host"), name="backups_named_once"),
                    models.CheckConstraint(
                        condition=models.Q(("sha256__regex", "^[0-9a-f]{64}$")), name="backups_checksum_is_one"
                    ),
                ],
            },
        ),
    ]
