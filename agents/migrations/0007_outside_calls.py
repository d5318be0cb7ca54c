"""Calls to other servers may end as not known."""

from django.contrib.postgres.operations import AddConstraintNotValid
from django.db import migrations, models

STATUSES = ["started", "unknown", "done", "failed", "refused", "waiting", "approved", "denied"]


class Migration(migrations.Migration):
    dependencies = [("agents", "0006_call_message")]

    operations = [
        migrations.AlterField(
            model_name="toolcall",
            name="status",
            field=models.CharField(
                choices=[
                    ("started", "runs"),
                    ("unknown", "not known whether it happened"),
                    ("done", "done"),
                    ("failed", "failed"),
                    ("refused", "refused"),
                    ("waiting", "waits for approval"),
                    ("approved", "approved, not done yet"),
                    ("denied", "denied by staff"),
                ],
                max_length=10,
                verbose_name="status",
            ),
        ),
        migrations.RemoveConstraint(model_name="toolcall", name="tool_calls_status_known"),
        AddConstraintNotValid(
            model_name="toolcall",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", STATUSES)), name="tool_calls_status_known"
            ),
        ),
    ]
