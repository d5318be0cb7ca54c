"""A claim of rows to index is a lease: its end is a column, null for rows that nobody works on."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("search", "0003_isolation")]
    operations = [
        migrations.AddField(
            model_name="pending",
            name="leased_until",
            field=models.DateTimeField(null=True, verbose_name="in work until"),
        ),
    ]
