"""A turn that staff retry has its whole budget: what it had spent before is kept apart."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("conversations", "0022_time_of_failed_attempts")]

    operations = [
        migrations.AddField(
            model_name="turn",
            name="tokens_before_retry",
            field=models.BigIntegerField(db_default=0, default=0, verbose_name="tokens before the retry"),
        ),
    ]
