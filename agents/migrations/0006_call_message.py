"""Each call says which message it goes back to."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("agents", "0004_checkpoints"),
    ]

    operations = [
        migrations.AddField(
            model_name="toolcall",
            name="message_id",
            field=models.UUIDField(null=True, verbose_name="message"),
        ),
    ]
