"""Budgets bind over all attempts of a turn: the time of failed ones is kept."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("conversations", "0021_fates_are_final")]

    operations = [
        migrations.AddField(
            model_name="turn",
            name="busy_ms",
            field=models.IntegerField(db_default=0, default=0, verbose_name="time of failed attempts, ms"),
        ),
    ]
