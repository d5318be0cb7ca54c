"""A build of a vector index that fails is tried again later: how often it failed, why, and when it is next."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("search", "0005_find_rows_to_index_again")]
    operations = [
        migrations.AddField(
            model_name="space",
            name="index_failures",
            field=models.IntegerField(db_default=0, verbose_name="failed builds of its index"),
        ),
        migrations.AddField(
            model_name="space",
            name="index_error",
            field=models.TextField(blank=True, db_default="", verbose_name="why its index cannot be built"),
        ),
        migrations.AddField(
            model_name="space",
            name="index_due_at",
            field=models.DateTimeField(null=True, verbose_name="its index is tried again"),
        ),
    ]
