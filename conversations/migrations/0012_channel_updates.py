"""What channels told us, once per update, and chats that moved to another id."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("conversations", "0011_delivery_rules"),
    ]

    operations = [
        migrations.CreateModel(
            name="ChannelUpdate",
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
                ("bot_id", models.BigIntegerField(verbose_name="bot")),
                ("update_id", models.BigIntegerField(verbose_name="update")),
                ("content_hash", models.BinaryField(verbose_name="hash")),
                ("kind", models.CharField(max_length=50, verbose_name="kind")),
                ("outcome", models.CharField(max_length=30, verbose_name="outcome")),
                ("chat_id", models.BigIntegerField(null=True, verbose_name="chat")),
                ("message_id", models.BigIntegerField(null=True, verbose_name="message in the chat")),
                ("payload", models.JSONField(null=True, verbose_name="payload")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField()),
                        editable=False,
                        verbose_name="created",
                    ),
                ),
            ],
            options={
                "verbose_name": "update of a channel",
                "verbose_name_plural": "updates of channels",
                "db_table": "channel_updates",
                "indexes": [
                    models.Index(fields=["created_at"], name="channel_updates_by_age"),
                    models.Index(fields=["bot_id", "chat_id", "message_id"], name="channel_updates_of_message"),
                ],
                "constraints": [
                    models.UniqueConstraint(fields=("bot_id", "update_id"), name="channel_updates_once_per_bot")
                ],
            },
        ),
        migrations.CreateModel(
            name="ChatMove",
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
                ("old_chat_id", models.BigIntegerField(verbose_name="old chat")),
                ("new_chat_id", models.BigIntegerField(verbose_name="new chat")),
                (
                    "created_at",
                    models.DateTimeField(
                        db_default=models.Func(function="clock_timestamp", output_field=models.DateTimeField()),
                        editable=False,
                        verbose_name="created",
                    ),
                ),
            ],
            options={
                "verbose_name": "move of a chat",
                "verbose_name_plural": "moves of chats",
                "db_table": "chat_moves",
                "constraints": [models.UniqueConstraint(fields=("channel", "old_chat_id"), name="chat_moves_once")],
            },
        ),
    ]
