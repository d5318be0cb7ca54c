"""Rows that were tried before are found without a look at the fresh ones, of which an import makes a million."""

import django.contrib.postgres.operations
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("search", "0004_lease_rows_to_index")]
    operations = [
        django.contrib.postgres.operations.AddIndexConcurrently(
            model_name="pending",
            index=models.Index(condition=models.Q(("attempts__gt", 0)), fields=["id"], name="search_pending_tried"),
        ),
    ]
