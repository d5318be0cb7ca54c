"""Row-level security of what was said: a key bound to a user sees and writes that user's rows alone."""

from django.db import migrations

from config.rls import ACTING_USER, Protect


class Migration(migrations.Migration):
    dependencies = [("conversations", "0002_log_rules")]
    operations = [
        Protect("conversations", mine=f"user_id = {ACTING_USER}", rights="SELECT, INSERT, UPDATE"),
        Protect(
            "messages",
            mine=f"conversation_id IN (SELECT id FROM conversations WHERE user_id = {ACTING_USER})",
            rights="SELECT, INSERT, UPDATE (deleted_at)",
        ),
    ]
