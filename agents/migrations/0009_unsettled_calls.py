"""Index of the calls that run, or whose end is not known: sweep and overview look for them."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("agents", "0008_outside_calls_checked")]

    operations = [
        AddIndexConcurrently(
            model_name="toolcall",
            index=models.Index(
                condition=models.Q(("status__in", ["started", "unknown"])),
                fields=["status"],
                name="tool_calls_unsettled",
            ),
        ),
    ]
