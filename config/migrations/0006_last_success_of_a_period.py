"""The last run of every periodic task that succeeded: what failed before it needs nobody any more."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("config", "0005_one_second_factor")]
    operations = [
        migrations.AddField("queueperiod", "succeeded", models.BigIntegerField("last success", null=True)),
    ]
