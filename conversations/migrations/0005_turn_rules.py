"""What the database holds of bursts and turns: cascades for erasure, room for hot rows, and who may see them."""

from django.db import migrations

from config.rls import ACTING_USER, Protect

RULES = """
ALTER TABLE message_buffers ADD CONSTRAINT message_buffers_conversation_fk
    FOREIGN KEY (conversation_id) REFERENCES conversations (id) ON DELETE CASCADE;
ALTER TABLE turns ADD CONSTRAINT turns_conversation_fk
    FOREIGN KEY (conversation_id) REFERENCES conversations (id) ON DELETE CASCADE;
ALTER TABLE message_fates ADD CONSTRAINT message_fates_message_fk
    FOREIGN KEY (message_id) REFERENCES messages (id) ON DELETE CASCADE;
ALTER TABLE deliveries ADD CONSTRAINT deliveries_message_fk
    FOREIGN KEY (message_id) REFERENCES messages (id) ON DELETE CASCADE;
-- Rows that are written and gone within seconds: keep their pages short, and vacuum them early.
ALTER TABLE message_buffers SET (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 200);
ALTER TABLE turns SET (fillfactor = 70);
-- The messages a person sent: reconcile looks for those without a fate.
CREATE INDEX messages_inbound ON messages (id) WHERE inbound;
"""
UNDO = """
DROP INDEX messages_inbound;
ALTER TABLE deliveries DROP CONSTRAINT deliveries_message_fk;
ALTER TABLE message_fates DROP CONSTRAINT message_fates_message_fk;
ALTER TABLE turns DROP CONSTRAINT turns_conversation_fk;
ALTER TABLE message_buffers DROP CONSTRAINT message_buffers_conversation_fk;
"""
MINE = f"conversation_id IN (SELECT id FROM conversations WHERE user_id = {ACTING_USER})"
MY_MESSAGE = "EXISTS (SELECT FROM messages WHERE messages.id = message_id)"  # which messages exist, their policy says


class Migration(migrations.Migration):
    dependencies = [("conversations", "0004_turns")]
    operations = [
        migrations.RunSQL(RULES, UNDO),
        Protect("message_buffers", mine=MINE),
        Protect("turns", mine=MINE),
        Protect("message_fates", mine=MY_MESSAGE),
        Protect("deliveries", mine=MY_MESSAGE),
    ]
