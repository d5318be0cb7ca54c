"""A conversation's agent is one that is registered, and an interview keeps the version it began with."""

import django.db.models.deletion
from django.db import migrations, models

RULES = """
-- Added without a look at the rows, and validated under a lock that lets everybody read and write.
ALTER TABLE conversations ADD CONSTRAINT conversations_agent_fk
    FOREIGN KEY (agent_id) REFERENCES agents (id) NOT VALID;
-- The pinned version exists. It has to: what a respondent is asked must not change in the middle.
ALTER TABLE conversations ADD CONSTRAINT conversations_agent_version_fk
    FOREIGN KEY (agent_id, agent_version) REFERENCES agent_versions (agent_id, version) NOT VALID;
"""
VALIDATE = """
ALTER TABLE conversations VALIDATE CONSTRAINT conversations_agent_fk;
ALTER TABLE conversations VALIDATE CONSTRAINT conversations_agent_version_fk;
"""
UNDO = """
ALTER TABLE conversations DROP CONSTRAINT conversations_agent_version_fk;
ALTER TABLE conversations DROP CONSTRAINT conversations_agent_fk;
"""
# Agents did not exist before: an id that was written then names nobody.
FILL = "UPDATE conversations SET agent_id = NULL WHERE agent_id IS NOT NULL AND agent_id NOT IN (SELECT id FROM agents)"


class Migration(migrations.Migration):
    dependencies = [("conversations", "0006_api_spending"), ("agents", "0002_rules")]
    operations = [
        migrations.SeparateDatabaseAndState(
            state_operations=[
                migrations.RemoveField("conversation", "agent_id"),
                migrations.AddField(
                    "conversation",
                    "agent",
                    models.ForeignKey(
                        blank=True,
                        db_constraint=False,
                        db_index=False,
                        null=True,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="agents.agent",
                        verbose_name="agent",
                    ),
                ),
            ]
        ),
        migrations.AddField(
            "conversation",
            "agent_version",
            models.IntegerField(editable=False, null=True, verbose_name="pinned version"),
        ),
        migrations.RunSQL(FILL, migrations.RunSQL.noop),
        migrations.RunSQL(RULES, UNDO),
        migrations.RunSQL(VALIDATE, migrations.RunSQL.noop),
    ]
