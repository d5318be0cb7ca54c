"""Columns of the delivery engine: place, cut, lease, decision; and the pace of channels."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0010_receive_message"),
    ]

    operations = [
        migrations.CreateModel(
            name="DeliveryGate",
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
                ("chat_id", models.BigIntegerField(verbose_name="chat")),
                (
                    "next_at",
                    models.DateTimeField(
                        db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField()),
                        verbose_name="next",
                    ),
                ),
                (
                    "paused_until",
                    models.DateTimeField(
                        db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField()),
                        verbose_name="paused until",
                    ),
                ),
                ("failures", models.IntegerField(db_default=0, default=0, verbose_name="failures in a row")),
            ],
            options={
                "verbose_name": "pace of a channel",
                "verbose_name_plural": "paces of channels",
                "db_table": "delivery_gates",
            },
        ),
        migrations.AddField(
            model_name="delivery",
            name="begins",
            field=models.IntegerField(db_default=0, default=0, verbose_name="begins at character"),
        ),
        migrations.AddField(
            model_name="delivery",
            name="conversation_id",
            field=models.UUIDField(editable=False, null=True, verbose_name="conversation"),
        ),
        migrations.AddField(
            model_name="delivery",
            name="ends",
            field=models.IntegerField(null=True, verbose_name="ends before character"),
        ),
        migrations.AddField(
            model_name="delivery",
            name="generation",
            field=models.IntegerField(db_default=0, default=0, verbose_name="generation"),
        ),
        migrations.AddField(
            model_name="delivery",
            name="lease_until",
            field=models.DateTimeField(null=True, verbose_name="lease until"),
        ),
        migrations.AddField(
            model_name="delivery",
            name="message_index",
            field=models.BigIntegerField(editable=False, null=True, verbose_name="index"),
        ),
        migrations.AddField(
            model_name="delivery",
            name="resolved_at",
            field=models.DateTimeField(null=True, verbose_name="decided"),
        ),
        migrations.AddField(
            model_name="delivery",
            name="resolved_by",
            field=models.CharField(blank=True, db_default="", default="", max_length=150, verbose_name="decided by"),
        ),
        migrations.AddField(
            model_name="delivery",
            name="sent_at",
            field=models.DateTimeField(null=True, verbose_name="sent"),
        ),
        migrations.AddField(
            model_name="delivery",
            name="slot_at",
            field=models.DateTimeField(null=True, verbose_name="slot"),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("status__in", ["pending", "sending", "unknown"])),
                fields=["conversation_id", "message_index", "part"],
                name="deliveries_next",
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(
                condition=models.Q(("resolved_at__isnull", True), ("status__in", ["unknown", "failed"])),
                fields=["updated_at"],
                name="deliveries_troubled",
            ),
        ),
        migrations.AddIndex(
            model_name="delivery",
            index=models.Index(fields=["-created_at", "-id"], name="deliveries_latest"),
        ),
        migrations.AddConstraint(
            model_name="delivery",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "sending")), fields=("conversation_id",), name="deliveries_one_sending"
            ),
        ),
        migrations.AddConstraint(
            model_name="delivery",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("lease_until__isnull", False), ("status", "sending")),
                    models.Q(("status", "sending"), _negated=True),
                    _connector="OR",
                ),
                name="deliveries_send_under_a_lease",
            ),
        ),
        migrations.AddConstraint(
            model_name="deliverygate",
            constraint=models.UniqueConstraint(fields=("channel", "chat_id"), name="delivery_gates_one_per_chat"),
        ),
        migrations.AddConstraint(
            model_name="deliverygate",
            constraint=models.CheckConstraint(
                condition=models.Q(("failures__gte", 0)), name="delivery_gates_failures_from_zero"
            ),
        ),
    ]
