"""What the database holds of imports: foreign keys that outlive an erasure, and the digest both sides compute."""

from django.db import migrations

RULES = """
ALTER TABLE import_shares ADD CONSTRAINT import_shares_batch_fk FOREIGN KEY (batch_id) REFERENCES imports (id);
ALTER TABLE import_rejects ADD CONSTRAINT import_rejects_batch_fk FOREIGN KEY (batch_id) REFERENCES imports (id);
-- Erasing a conversation keeps the line that says its chat is known, so that the next import does not bring it again.
ALTER TABLE import_chats ADD CONSTRAINT import_chats_conversation_fk
    FOREIGN KEY (conversation_id) REFERENCES conversations (id) ON DELETE SET NULL;
ALTER TABLE import_shares ADD CONSTRAINT import_shares_conversation_fk
    FOREIGN KEY (conversation_id) REFERENCES conversations (id) ON DELETE SET NULL;
ALTER TABLE import_rejects ADD CONSTRAINT import_rejects_chat_fk
    FOREIGN KEY (chat_id) REFERENCES import_chats (id) ON DELETE CASCADE;
"""
DIGEST = """
-- One message as a number, with its index; their sum is a conversation's checksum: it says how many, which, and in
-- which order. conversations/legacy/digest.py computes the same.
CREATE FUNCTION message_digest(p_index bigint, p_role text, p_content text, p_created timestamptz, p_deleted timestamptz)
RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT substring(sha256(
        int8send(p_index) || timestamptz_send(p_created) || coalesce(timestamptz_send(p_deleted), int8send(0))
        || textsend(p_role) || '\\x00'::bytea || textsend(p_content)
    ) FROM 1 FOR 8)::bigint
$$;
"""
UNDO = """
DROP FUNCTION message_digest(bigint, text, text, timestamptz, timestamptz);
ALTER TABLE import_rejects DROP CONSTRAINT import_rejects_chat_fk;
ALTER TABLE import_shares DROP CONSTRAINT import_shares_conversation_fk;
ALTER TABLE import_chats DROP CONSTRAINT import_chats_conversation_fk;
ALTER TABLE import_rejects DROP CONSTRAINT import_rejects_batch_fk;
ALTER TABLE import_shares DROP CONSTRAINT import_shares_batch_fk;
"""


class Migration(migrations.Migration):
    dependencies = [("conversations", "0016_imports")]
    operations = [migrations.RunSQL(RULES + DIGEST, UNDO)]
