"""Statuses of the rows from before are checked; nothing is locked meanwhile."""

from django.contrib.postgres.operations import ValidateConstraint
from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("agents", "0007_outside_calls")]

    operations = [ValidateConstraint(model_name="toolcall", name="tool_calls_status_known")]
